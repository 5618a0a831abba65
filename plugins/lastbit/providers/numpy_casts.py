"""NumPy's astype between its own types, with what NumPy's documentation says about it."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

FLOATS = ("f64", "f32", "f16")
INTEGERS = ("i8", "u8", "i32")
DOCS = "numpy.org/doc/stable"
ROUNDED = Contract(source=f"{DOCS}/reference/generated/numpy.ndarray.astype.html; npymath halffloat.c: round to even")
#: "Casting a floating point value to an integer type that it does not fit is undefined behavior."
TRUNCATED = Contract(
    output_rounding="toward-zero",
    overflow="any",
    source=f"{DOCS}/user/basics.types.html: C casts, out of range undefined",
)
WRAPPED = Contract(overflow="wrap", source=f"{DOCS}/user/basics.types.html: integers wrap around")


def kernels() -> tuple[Kernel, ...]:
    """astype from and to each type of NumPy that has a format.

    Raises ImportError when NumPy is not installed.
    """
    import numpy  # noqa: F401

    others = (*FLOATS, *INTEGERS)
    found = [_kernel(f"numpy/astype-{out}", [fmt for fmt in others if fmt != out], out, ROUNDED) for out in FLOATS]
    for out in INTEGERS:
        found.append(_kernel(f"numpy/astype-{out}", FLOATS, out, TRUNCATED))
        found.append(_kernel(f"numpy/astype-{out}-integers", [f for f in INTEGERS if f != out], out, WRAPPED))
    return tuple(found)


def astype(out: str) -> Callable[..., Any]:
    """x.astype(the type of `out`), without warnings of overflow, which are right results on the data that give them."""

    def run(x: Any) -> Any:
        import numpy as np

        from lastbit.numpy_arrays import dtype

        with np.errstate(all="ignore"):
            return x.astype(dtype(out))

    return run


def _kernel(name: str, sources: Any, out: str, contract: Contract) -> Kernel:
    return Kernel(
        name=name,
        op="cast",
        run=astype(out),
        formats=tuple({"x": fmt, "out": out} for fmt in sources),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
    )
