"""What a scaling costs: signal to quantization noise, relative error and cosine of a tensor and its quantized self."""

from dataclasses import dataclass
from math import inf, log10, sqrt

import numpy as np
from numpy.typing import NDArray

from lastbit.references.dequantize import truth
from lastbit.references.quality_data import FAMILIES, matrix
from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling

Array = NDArray[np.float64]

#: One preset of every format and granularity, cheapest first; two that differ by a tie need no two rows.
COMPARED = (
    "mxfp4",
    "mxfp4_rceil",
    "nvfp4",
    "nvfp4_four_over_six",
    "nf4",
    "i4_group32",
    "i4_group128",
    "i4_group32_zp",
    "i4_group128_zp",
    "gguf_q4_0",
    "mxfp6_e2m3",
    "mxfp6_e3m2",
    "mxfp8_e4m3",
    "mxfp8_e5m2",
    "mxint8",
    "fp8_tensor",
    "fp8_row",
    "fp8_group128",
    "fp8_block128",
    "i8_tensor",
    "i8_row",
    "i8_affine",
    "gguf_q8_0",
)
ROWS = 256
COLUMNS = 1024


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a quantized tensor is from the original, in three figures; conformance is another question."""

    scaling: str
    family: str
    #: Bits that a number takes, its share of the scale included.
    bits: float
    #: Signal to quantization noise, 10 log10(sum x^2 / sum (x - y)^2); inf where nothing is lost.
    sqnr_db: float
    #: Median of |x - y| / |x| over x != 0.
    median_relative: float
    #: Share of x != 0 that became 0.
    lost: float
    #: sum xy / sqrt(sum x^2 sum y^2).
    cosine: float


def quality(x: Array, scaling: "str | Scaling", fmt: str = "bf16", family: str = "") -> Quality:
    """The figures of `x`, finite numbers of the format `fmt` and not all zero, under the scaling.

    In float64: relative rounding errors of the sums stay below n 2^-53.
    """
    scaling = Scaling.of(scaling)
    y = truth(quantize(x, scaling, fmt), scaling).hi
    signal, noise = float(np.square(x).sum()), float(np.square(x - y).sum())
    there = x != 0
    return Quality(
        scaling.name,
        family,
        scaling.bits_per_value,
        10 * log10(signal / noise) if noise else inf,
        float(np.median(np.abs(x - y)[there] / np.abs(x)[there])),
        float((y[there] == 0).mean()),
        float((x * y).sum()) / sqrt(signal * float(np.square(y).sum())) if y.any() else 0.0,
    )


def compare(
    scalings: tuple[str, ...] = COMPARED, families: tuple[str, ...] = tuple(FAMILIES), seed: int = 0
) -> list[Quality]:
    """Every scaling on every family: matrices of 256 rows and 1024 columns, in bf16."""
    found = []
    for family in families:
        x = matrix(family, ROWS, COLUMNS, seed)
        found += [quality(x, scaling, "bf16", family) for scaling in scalings]
    return found


def table(found: list[Quality]) -> str:
    """Signal to noise in decibels, a scaling a line and a family a column, as Markdown."""
    families = list(dict.fromkeys(q.family for q in found))
    lines = [f"| scaling | bits | {' | '.join(families)} |", "|---" * (len(families) + 2) + "|"]
    for scaling in dict.fromkeys(q.scaling for q in found):
        row = {q.family: q for q in found if q.scaling == scaling}
        cells = [f"{row[family].sqnr_db:.1f}" for family in families]
        lines.append(f"| {scaling} | {next(iter(row.values())).bits:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)
