"""JAX's astype (XLA's convert) on the CPU."""

from collections.abc import Callable, Sequence
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.numpy_arrays import dtype

WIDE = ("f64", "f32", "f16", "bf16")
EIGHT = ("e4m3fn", "e4m3fnuz", "e4m3b11fnuz", "e5m2", "e5m2fnuz", "e4m3", "e3m4")
INTEGERS = ("i8", "u8", "i32")
DOCS = "openxla.org/stablehlo/spec, convert"
ROUNDED = Contract(source=f"{DOCS}: roundToNearestEven; the types are those of ml_dtypes")
#: NaN and numbers out of range are implementation-defined in the specification: nothing is promised of them.
TRUNCATED = Contract(output_rounding="toward-zero", overflow="any", source=f"{DOCS}: truncates, out of range undefined")
WRAPPED = Contract(overflow="wrap", source="docs.jax.dev: jax.lax.convert_element_type, integers as NumPy's")
EXPONENT = Contract(output_rounding="nearest-away", zero="nan", source=f"{DOCS}; ml_dtypes float8_e8m0fnu")
SMALL = Contract(nan="zero", source=f"{DOCS}; ml_dtypes float4_e2m1fn")


def kernels() -> tuple[Kernel, ...]:
    """astype to each format that XLA has on the CPU."""
    found = [_kernel(out, [f for f in (*WIDE, *EIGHT, *INTEGERS) if f != out], ROUNDED) for out in WIDE]
    found += [_kernel(out, WIDE, ROUNDED) for out in EIGHT]
    found.append(_kernel("e8m0fnu", WIDE, EXPONENT))
    found.append(_kernel("e2m1fn", WIDE, SMALL))
    for out in (*INTEGERS, "i4", "u4"):
        found.append(_kernel(out, WIDE, TRUNCATED))
    for out in INTEGERS:
        found.append(_kernel(f"{out}-integers", [fmt for fmt in INTEGERS if fmt != out], WRAPPED))
    return tuple(found)


def _kernel(name: str, sources: Sequence[str], contract: Contract) -> Kernel:
    out = name.partition("-")[0]
    return Kernel(
        name=f"jax/astype-{name}",
        op="cast",
        run=_astype(out),
        formats=tuple({"x": fmt, "out": out} for fmt in sources),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
    )


def _astype(out: str) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import jax
        import numpy as np

        with jax.enable_x64(True):
            # The result is a view of JAX's memory, and of the operand's where nothing is converted.
            return np.array(jax.numpy.asarray(x).astype(dtype(out)))

    return run
