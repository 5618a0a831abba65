"""Quantizers and dequantizers by the book: every named scaling, computed exactly as it is declared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.arrays import tensor
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling
from lastbit.scaled_storage import held

#: Formats of x, in the order in which the scalings take turns at them; all of them are tested from tier standard on.
FORMATS = ("f32", "bf16", "f16")
#: Scalings that are judged in the smoke tier: one of each kind.
SMOKE = frozenset(
    "mxfp8_e4m3 mxfp6_e3m2 mxfp4 mxint8 nvfp4 nf4 fp8_row fp8_block128 i8_tensor i8_row_affine i4_group32_zp".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class SimulatedQuantizer:
    """x to codes, scale, zero point and global scale, as `scaling` declares them."""

    scaling: Scaling

    def __call__(self, x: NDArray[Any]) -> Any:
        """x (.., m, n); returns arrays of codes and scales, packed and laid out as declared."""
        found = held(quantize(x.astype(np.float64), self.scaling, _format(x)), self.scaling)
        arrays = tuple(tensor(one.codes, one.format, "numpy") for one in found.values())
        return arrays if len(arrays) > 1 else arrays[0]


def kernels() -> tuple[Kernel, ...]:
    """One quantizer for each named scaling."""
    return tuple(_quantizer(Scaling.of(name), turn) for turn, name in enumerate(Scaling.names()))


def _quantizer(scaling: Scaling, turn: int) -> Kernel:
    return Kernel(
        name=f"simulated/quantize-{scaling.name}",
        op="quantize",
        run=SimulatedQuantizer(scaling),
        formats={"x": FORMATS[turn % len(FORMATS)]},
        contract=Contract(source=scaling.source),
        framework="numpy",
        devices=("cpu",),
        features=frozenset({"batch", "tails"}),
        scaling=scaling.name,
        tier="smoke" if scaling.name in SMOKE else "standard",
    )


def _format(x: NDArray[Any]) -> str:
    return {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[x.dtype.name]
