"""Quantizers and dequantizers by the book: every named scaling, computed exactly as it is declared."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.arrays import tensor
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.dequantize import dequantize
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized, given, quantize, quantize_with, scales
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import parts, unpacked_shape
from lastbit.scaled_storage import held, read

#: Formats of x, in the order in which the scalings take turns at them; all of them are tested from tier standard on.
FORMATS = ("f32", "bf16", "f16")
#: Scalings that are judged in the smoke tier: one of each kind.
SMOKE = frozenset(
    "mxfp8_e4m3 mxfp6_e3m2 mxfp4 mxint8 nvfp4 nf4 fp8_row fp8_block128 i8_tensor i8_row_affine i4_group32_zp".split()  # noqa: SIM905
)

#: Bytes of gguf's halves are of a whole group.
TAILS, WHOLE = frozenset({"batch", "tails"}), frozenset({"batch"})


@dataclass(frozen=True, slots=True)
class SimulatedQuantizer:
    """x to codes, scale, zero point and global scale, as `scaling` declares them."""

    scaling: Scaling

    def __call__(self, x: NDArray[Any], *known: NDArray[Any]) -> Any:
        """x (.., m, n), and the scales where they are given; returns arrays of codes and scales, packed as declared."""
        values = x.astype(np.float64)
        if self.scaling.rule == "given":
            codes = dict(zip(list(parts(self.scaling))[1:], (_bits(one) for one in known), strict=True))
            quantized = quantize_with(values, given(self.scaling, **codes), self.scaling, _format(x))
            return _arrays(quantized, self.scaling)[0]
        arrays = _arrays(quantize(values, self.scaling, _format(x)), self.scaling)
        return arrays if len(arrays) > 1 else arrays[0]


@dataclass(frozen=True, slots=True)
class SimulatedDequantizer:
    """What `scaling` makes of codes, in the format `out`, by `order`."""

    scaling: Scaling
    out: str
    order: str = "once"

    def __call__(self, codes: NDArray[Any], *others: NDArray[Any]) -> Any:
        """Codes (.., m, n), packed as declared, scale, zero point and global scale; returns (.., m, n)."""
        arrays = [_bits(array) for array in (codes, *others)]
        found, strange = read(arrays, self.scaling, unpacked_shape(self.scaling, codes.shape))
        if found is None:
            raise ValueError(strange)
        values = dequantize(found, self.scaling, self.out, order=self.order)
        return tensor(Format.of(self.out).encode(values), self.out, "numpy")


@dataclass(frozen=True, slots=True)
class StochasticQuantizer:
    """The same with 32 random bits a number, drawn anew at each call."""

    scaling: Scaling
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(2026))

    def __call__(self, x: NDArray[Any]) -> Any:
        """x (.., m, n); returns arrays of codes and scales."""
        values, drawn = x.astype(np.float64), self.rng.integers(0, 1 << 32, x.shape)
        chosen = replace(self.scaling, rounding="stochastic")
        found = quantize_with(values, scales(values, chosen, _format(x)), chosen, _format(x), random=drawn)
        return _arrays(found, chosen)


def kernels() -> tuple[Kernel, ...]:
    """A quantizer and a dequantizer for each named scaling, and dequantizers of other orders."""
    named = [Scaling.of(name) for name in Scaling.names()]
    return (
        *(_quantizer(scaling, turn) for turn, scaling in enumerate(named)),
        *(_stochastic(Scaling.of(name)) for name in ("mxfp4", "nvfp4_divide", "i8_row")),
        *(_dequantizer(scaling, FORMATS[turn % len(FORMATS)]) for turn, scaling in enumerate(named)),
        *(_dequantizer(Scaling.of("nvfp4"), "bf16", order) for order in ("scales_first", "element_first")),
        _dequantizer(Scaling.of("i8_row_affine"), "f32", "fused_zero"),
        _dequantizer(Scaling.of("i4_group32_zp"), "f16", "fused_zero"),
    )


def _quantizer(scaling: Scaling, turn: int) -> Kernel:
    return Kernel(
        name=f"simulated/quantize-{scaling.name}",
        op="quantize",
        run=SimulatedQuantizer(scaling),
        formats={"x": FORMATS[turn % len(FORMATS)]},
        contract=Contract(source=f"docs/quantize.md: {scaling.source}"),
        framework="numpy",
        devices=("cpu",),
        features=TAILS if scaling.packing != "nibbles_halves" else WHOLE,
        scaling=scaling.name,
        tier="smoke" if scaling.name in SMOKE else "standard",
    )


def _stochastic(scaling: Scaling) -> Kernel:
    promise = Contract(output_rounding="stochastic", deterministic=False, source="references/rounding_stochastic.py")
    plain = _quantizer(scaling, 0)
    return replace(
        plain, name=f"{plain.name}-stochastic", run=StochasticQuantizer(scaling), contract=promise, tier="smoke"
    )


def _dequantizer(scaling: Scaling, out: str, order: str = "once") -> Kernel:
    suffix = "" if order == "once" else f"-{order.replace('_', '-')}"
    return Kernel(
        name=f"simulated/dequantize-{scaling.name}{suffix}",
        op="dequantize",
        run=SimulatedDequantizer(scaling, out, order),
        formats={"out": out},
        contract=Contract(scale_arithmetic=order, source=f"docs/quantize.md: {scaling.source}"),
        framework="numpy",
        devices=("cpu",),
        features=TAILS if scaling.packing != "nibbles_halves" else WHOLE,
        scaling=scaling.name,
        tier="smoke" if scaling.name in SMOKE or suffix else "standard",
    )


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    return np.array(array, order="C").view(f"u{array.dtype.itemsize}")


def _arrays(found: Quantized, scaling: Scaling) -> tuple[Any, ...]:
    return tuple(tensor(one.codes, one.format, "numpy") for one in held(found, scaling).values())


def _format(x: NDArray[Any]) -> str:
    return {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[x.dtype.name]
