"""Small numbers to quantize, codes moved by a step, and the verdict on them."""

from dataclasses import replace
from typing import Any

import numpy as np

from lastbit.quantize_judge import judge_quantized
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.verdict import Verdict

ROW, NVFP4, MXFP8, MXINT8 = (Scaling.of(name) for name in ("fp8_row", "nvfp4", "mxfp8_e4m3", "mxint8"))
AFFINE, TENSOR = Scaling.of("i8_row_affine"), Scaling.of("fp8_tensor")
#: 448 is the largest e4m3, so that the rows have scales of 1 and 1/2.
X = np.array([[448.0, 2.0, -1.0, 0.5], [224.0, -8.0, 0.0, 3.0]])
SIXTEENTHS = np.linspace(-8, 7.5, 32).reshape(2, 16)
F32 = Format.of("f32")


def judged(x: Any, scaling: Scaling, got: Quantized, fmt: str = "f32", **options: Any) -> Verdict:
    return judge_quantized(x, fmt, scaling, got, **options)[0]


def moved(got: Quantized, part: str, index: tuple[int, ...], by: int) -> Quantized:
    """`got` with one code of a part moved."""
    codes = np.array(getattr(got, part))
    codes[index] += np.array(by).astype(codes.dtype)
    return replace(got, **{part: codes})
