"""astype between the types of ml_dtypes, and between them and NumPy's."""

from collections.abc import Sequence

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.numpy_arrays import dtype
from lastbit.providers.numpy_casts import astype

WIDE = ("f64", "f32", "f16", "bf16")
EIGHT = ("e4m3fn", "e4m3fnuz", "e4m3b11fnuz", "e5m2", "e5m2fnuz", "e4m3", "e3m4")
SMALL = ("e3m2fn", "e2m3fn", "e2m1fn")
INTEGERS = ("i8", "u8", "i32", "i4", "u4")
NARROW_INTEGERS = ("i4", "u4")
SOURCE = "github.com/jax-ml/ml_dtypes/blob/v0.6.0"
#: Beyond the range: infinity, else NaN, else the largest number; the README calls it the type's special values.
FLOAT = Contract(source=f"{SOURCE}/README.md; ml_dtypes/include/float8.h: round to nearest even")
#: NaN becomes a zero.
SMALL_FLOAT = Contract(nan="zero", source=f"{SOURCE}/ml_dtypes/include/mxfloat.h: no NaN, overflow saturates")
#: "Unsigned, no zero": zero and negative numbers are NaN.
EXPONENT = Contract(
    output_rounding="nearest-away", zero="nan", source=f"{SOURCE}/ml_dtypes/include/mxfloat.h: float8_e8m0fnu"
)
TRUNCATED = Contract(
    output_rounding="toward-zero", overflow="any", source=f"{SOURCE}/ml_dtypes/include/intn.h: C casts"
)
WRAPPED = Contract(overflow="wrap", source=f"{SOURCE}/ml_dtypes/include/intn.h: the low bits")


def kernels() -> tuple[Kernel, ...]:
    """astype to each type from the wide floats, and from every other type in the standard tier.

    Raises ImportError when ml_dtypes is not installed.
    """
    import ml_dtypes  # noqa: F401

    targets = {"bf16": FLOAT} | dict.fromkeys(EIGHT, FLOAT) | dict.fromkeys(SMALL, SMALL_FLOAT) | {"e8m0fnu": EXPONENT}
    known = (*WIDE, *EIGHT, *SMALL, "e8m0fnu")
    found = []
    for out, contract in targets.items():
        found.append(_kernel(out, "", [fmt for fmt in WIDE if fmt != out], contract))
        narrow = [fmt for fmt in (*known, *INTEGERS) if fmt not in (*WIDE, out)]
        found.append(_kernel(out, "-narrow", narrow, contract, tier="standard"))
    for out in ("f32", "f64", "f16"):
        narrow = ["bf16", *EIGHT, *SMALL, "e8m0fnu", *NARROW_INTEGERS]
        found.append(_kernel(out, "", narrow, FLOAT, tier="smoke" if out == "f32" else "standard"))
    for out in NARROW_INTEGERS:
        found.append(_kernel(out, "", WIDE, TRUNCATED))
        found.append(_kernel(out, "-narrow", (*EIGHT, *SMALL, "e8m0fnu"), TRUNCATED, tier="standard"))
        found.append(_kernel(out, "-integers", [fmt for fmt in INTEGERS if fmt != out], WRAPPED, tier="standard"))
    return tuple(found)


def _kernel(out: str, suffix: str, sources: Sequence[str], contract: Contract, tier: str = "smoke") -> Kernel:
    return Kernel(
        name=f"ml_dtypes/astype-{out}{suffix}",
        op="cast",
        run=astype(out),
        formats=tuple({"x": fmt, "out": out} for fmt in sources if _registered(fmt, out)),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        tier=tier,
    )


def _registered(source: str, out: str) -> bool:
    """Whether this ml_dtypes casts between the two: it has no casts of e8m0fnu to other narrow floats, for one."""
    import numpy as np

    return np.can_cast(dtype(source), dtype(out), "unsafe")
