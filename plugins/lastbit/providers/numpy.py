"""NumPy's matrix products, each with what NumPy's documentation says about it."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

#: f64 and f32 go to BLAS, integers wrap; neither page promises an accumulator wider than the operands.
MATMUL = Contract(
    source="numpy.org/doc/stable/reference/generated/numpy.matmul.html: 'no BLAS' loops in the operands' dtype"
)


def kernels() -> tuple[Kernel, ...]:
    """The matrix products of the installed NumPy.

    Raises ImportError when NumPy is not installed.
    """
    import numpy as np

    return (
        _kernel("numpy/matmul", np.matmul, "f64", "f32", "i32", features={"batch"}),
        _kernel("numpy/matmul-out", _matmul_out, "f64", "f32", features={"batch", "out"}),
        _kernel("numpy/dot", np.dot, "f64", "f32", "i32"),
        _kernel("numpy/einsum", _einsum, "f64", "f32", features={"batch"}),
    )


def _kernel(
    name: str,
    run: Callable[..., Any],
    *formats: str,
    contract: Contract = MATMUL,
    features: set[str] | frozenset[str] = frozenset(),
) -> Kernel:
    return Kernel(
        name=name,
        op="gemm",
        run=run,
        formats=tuple({"a": fmt, "b": fmt, "out": fmt} for fmt in formats),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        features=frozenset(features),
    )


def _matmul_out(a: Any, b: Any, *, out: Any = None) -> Any:
    import numpy as np

    return np.matmul(a, b, out=out)


def _einsum(a: Any, b: Any) -> Any:
    import numpy as np

    return np.einsum("...mk,...kn->...mn", a, b)
