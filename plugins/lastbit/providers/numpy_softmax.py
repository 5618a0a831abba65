"""Softmax, log_softmax and logsumexp of our own in NumPy: the maximum first, then NumPy's exp, sum and log."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

#: f16 and bf16 are computed in f32. NumPy's own tests allow exp and log of f32 4 ulp (numpy/_core/tests/
#: test_umath_accuracy.py), and its f64 ones are within 2.
PLAIN = Contract(exp_ulp=4.0, masked_row="nan", source="plugins/lastbit/providers/numpy_softmax.py: x - max, exp, sum")
FORMATS = ("f64", "f32", "f16", "bf16")


def kernels() -> tuple[Kernel, ...]:
    """The softmax family on the installed NumPy.

    Raises ImportError when NumPy is not installed.
    """
    import numpy  # noqa: F401

    runs: dict[str, Callable[..., Any]] = {"softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp}
    return tuple(
        Kernel(
            name=f"numpy/{op}",
            op=op,
            run=run,
            formats=tuple({"x": fmt, "out": fmt} for fmt in FORMATS),
            contract=PLAIN,
            framework="numpy",
            devices=("cpu",),
            features=frozenset({"batch"}),
        )
        for op, run in runs.items()
    )


def _softmax(x: Any) -> Any:
    import numpy as np

    with np.errstate(all="ignore"):
        below = _below(x)
        weights = np.exp(below)
        return (weights / weights.sum(axis=-1, keepdims=True)).astype(x.dtype)


def _log_softmax(x: Any) -> Any:
    import numpy as np

    with np.errstate(all="ignore"):
        below = _below(x)
        return (below - np.log(np.exp(below).sum(axis=-1, keepdims=True))).astype(x.dtype)


def _logsumexp(x: Any) -> Any:
    """The maximum is taken off only where it is finite, so that +inf gives +inf and a row of -inf gives -inf."""
    import numpy as np

    with np.errstate(all="ignore"):
        wide = _widened(x)
        top = wide.max(axis=-1, keepdims=True, initial=-np.inf)
        top = np.where(np.isfinite(top), top, 0)
        return (np.log(np.exp(wide - top).sum(axis=-1)) + top[..., 0]).astype(x.dtype)


def _below(x: Any) -> Any:
    wide = _widened(x)
    return wide - wide.max(axis=-1, keepdims=True)


def _widened(x: Any) -> Any:
    import numpy as np

    return x.astype(np.float32) if x.dtype.itemsize < 4 else x
