"""ONNX Runtime's Cast on the CPU, with `saturate` and without."""

from collections.abc import Callable, Sequence
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.onnxruntime_node import TYPES, Node, run_node, type_of

WIDE = ("f64", "f32", "f16", "bf16")
FP8 = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")
INTEGERS = ("i8", "u8", "i32")
SPECIFICATION = "onnx.ai/onnx/operators/onnx__Cast.html, version 25"
ROUNDED = Contract(source=f"{SPECIFICATION}: IEEE 754 round to nearest even")
SATURATING = Contract(overflow="saturate", source=f"{SPECIFICATION}: saturate=1, infinities too")
#: NaN, or infinity in e5m2.
PLAIN = Contract(source=f"{SPECIFICATION}: saturate=0")
EXPONENT = Contract(output_rounding="up", overflow="saturate", source=f"{SPECIFICATION}: e8m0, round_mode='up'")
NEAREST = Contract(output_rounding="nearest-away", overflow="saturate", source=f"{SPECIFICATION}: round_mode='nearest'")
TRUNCATED = Contract(output_rounding="toward-zero", overflow="any", source=f"{SPECIFICATION}: out of range undefined")
#: "If OOR, discard higher bits and reinterpret."
WRAPPED = Contract(overflow="wrap", source=f"{SPECIFICATION}: higher bits are discarded")


def kernels() -> tuple[Kernel, ...]:
    """Cast to each format that ONNX Runtime has a CPU kernel for."""
    found = [_kernel(out, "", [fmt for fmt in WIDE if fmt != out], ROUNDED) for out in WIDE]
    found += [_kernel(out, "-narrow", (*FP8, *INTEGERS), ROUNDED, tier="standard") for out in WIDE]
    for out in FP8:
        found.append(_kernel(out, "", WIDE, SATURATING))
        found.append(_kernel(out, "-unsaturated", WIDE, PLAIN, saturate=0))
    found.append(_kernel("e8m0fnu", "", ("f32", "f16", "bf16"), EXPONENT))
    found.append(_kernel("e8m0fnu", "-nearest", ("f32", "f16", "bf16"), NEAREST, round_mode="nearest"))
    for out in INTEGERS:
        found.append(_kernel(out, "", WIDE, TRUNCATED))
        found.append(_kernel(out, "-integers", [fmt for fmt in INTEGERS if fmt != out], WRAPPED))
    return tuple(found)


def _kernel(
    out: str, suffix: str, sources: Sequence[str], contract: Contract, tier: str = "smoke", **attributes: Any
) -> Kernel:
    return Kernel(
        name=f"onnxruntime/cast-{out}{suffix}",
        op="cast",
        run=_cast(out, attributes),
        formats=tuple({"x": fmt, "out": out} for fmt in sources),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        tier=tier,
    )


def _cast(out: str, attributes: dict[str, Any]) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        from lastbit.numpy_arrays import dtype

        source = next(fmt for fmt in TYPES if dtype(fmt) == x.dtype)
        node = Node("Cast", (("x", source),), (("y", out),), (("to", type_of(out)), *attributes.items()))
        return run_node(node, {"x": x}, (x.shape,))[0]

    return run
