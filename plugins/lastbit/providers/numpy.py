"""NumPy's matrix products, each with what NumPy's documentation or source says about it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

#: f64 and f32 go to BLAS, f16 is summed in a C float. Integers wrap, which no contract can say: they are left out.
MATMUL = Contract(source="numpy/_core/src/umath/matmul.c.src: BLAS, and 'float sum' for half")
DOT = Contract(source="numpy/_core/src/multiarray/arraytypes.c.src: BLAS, and 'float tmp' for half")
#: The page says of dtype that it "forces the calculation to use the data type specified": by default the operands'.
EINSUM = Contract(source="numpy.org/doc/stable/reference/generated/numpy.einsum.html: dtype")
EINSUM_F16 = Contract(accumulator="f16", source=EINSUM.source)
ML_DTYPES = Contract(source="ml_dtypes/_src/custom_float.h, NPyCustomFloat_DotFunc: 'float acc'")

NARROW = ("bf16", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")
#: Formats without a BLAS run in plain loops, 0.1 to 1.3 G products/s: two seconds' worth.
LIMIT = dict.fromkeys(("f16", *NARROW), 2**28)


def kernels() -> tuple[Kernel, ...]:
    """The matrix products of the installed NumPy, and those of its dot with the number formats of ml_dtypes.

    Raises ImportError when NumPy is not installed.
    """
    import numpy as np

    return (
        _kernel("numpy/matmul", np.matmul, ("f64", "f32", "f16"), MATMUL, {"batch"}),
        _kernel("numpy/matmul-out", np.matmul, ("f64", "f32", "f16"), MATMUL, {"batch", "out"}),
        _kernel("numpy/dot", np.dot, ("f64", "f32", "f16"), DOT),
        _kernel("numpy/dot-narrow", np.dot, NARROW, ML_DTYPES),
        _kernel("numpy/einsum", _einsum, ("f64", "f32"), EINSUM, {"batch"}),
        _kernel("numpy/einsum-f16", _einsum, ("f16",), EINSUM_F16, {"batch"}),
    )


def _kernel(
    name: str,
    function: Callable[..., Any],
    formats: tuple[str, ...],
    contract: Contract,
    features: set[str] | frozenset[str] = frozenset(),
) -> Kernel:
    return Kernel(
        name=name,
        op="gemm",
        run=partial(_quietly, function),
        formats=tuple({"a": fmt, "b": fmt, "out": fmt} for fmt in formats),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        features=frozenset(features),
        limit=LIMIT,
    )


def _quietly(function: Callable[..., Any], *operands: Any, **keywords: Any) -> Any:
    """`function` without NumPy's warnings of overflow and NaN, which are right results on the data that gives them."""
    import numpy as np

    with np.errstate(all="ignore"):
        return function(*operands, **keywords)


def _einsum(a: Any, b: Any) -> Any:
    import numpy as np

    return np.einsum("...mk,...kn->...mn", a, b)
