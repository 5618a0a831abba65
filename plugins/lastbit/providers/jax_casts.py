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
ROUNDED = Contract(source=f"{DOCS}, leaves rounding open: lastbit's default, one rounding to nearest even")
#: Between formats with subnormal numbers of f32 and f64 they may become zero.
FLUSHED = Contract(subnormals="flush", source=f"{DOCS}; xla/pjrt/cpu: tsl::port::ScopedFlushDenormal")
#: The specification leaves NaN and numbers out of range open: nothing is promised of them.
TRUNCATED = Contract(output_rounding="toward-zero", overflow="any", source=f"{DOCS}: truncates, out of range open")
WRAPPED = Contract(overflow="wrap", source="docs.jax.dev: jax.lax.convert_element_type, integers as NumPy's")
EXPONENT = Contract(output_rounding="nearest-away", zero="nan", source=f"{DOCS}; ml_dtypes float8_e8m0fnu")
SMALL = Contract(nan="zero", source=f"{DOCS}; ml_dtypes float4_e2m1fn")


#: Every shape is compiled for, 40 ms each: numbers are padded to the next of these sizes.
PADDED = (1 << 12, 1 << 17, 1 << 22)


def kernels() -> tuple[Kernel, ...]:
    """astype to each format that XLA has on the CPU; few in the smoke tier, for each pair is compiled."""
    targets = dict.fromkeys(WIDE, FLUSHED) | dict.fromkeys(EIGHT, ROUNDED) | {"e8m0fnu": EXPONENT, "e2m1fn": SMALL}
    targets |= dict.fromkeys((*INTEGERS, "i4", "u4"), TRUNCATED)
    found = []
    for out, contract in targets.items():
        found.append(_kernel(out, "", [fmt for fmt in ("f32", "bf16") if fmt != out], contract))
        found.append(_kernel(out, "-wide", [fmt for fmt in ("f64", "f16") if fmt != out], contract, tier="standard"))
    for out in WIDE:
        found.append(_kernel(out, "-narrow", (*EIGHT, *INTEGERS), FLUSHED, tier="standard"))
    for out in INTEGERS:
        found.append(_kernel(out, "-integers", [fmt for fmt in INTEGERS if fmt != out], WRAPPED, tier="standard"))
    return tuple(found)


def _kernel(out: str, suffix: str, sources: Sequence[str], contract: Contract, tier: str = "smoke") -> Kernel:
    return Kernel(
        name=f"jax/astype-{out}{suffix}",
        op="cast",
        run=_astype(out),
        formats=tuple({"x": fmt, "out": out} for fmt in sources),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        tier=tier,
    )


def _astype(out: str) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import jax
        import numpy as np

        padded = np.zeros(next((size for size in PADDED if size >= x.size), x.size), x.dtype)
        padded[: x.size] = x.reshape(-1)
        with jax.enable_x64(True):
            # The result is a view of JAX's memory.
            return np.array(jax.numpy.asarray(padded).astype(dtype(out)))[: x.size].reshape(x.shape).copy()

    return run
