"""The exact quantizer: the codes and scales that a scaling gives for a tensor."""

import numpy as np
from numpy.typing import ArrayLike

from lastbit.references.four_over_six import better
from lastbit.references.quantize_codes import Codes, Quantized, given, quantize_with, right, right_scales
from lastbit.references.quantize_fp4 import applies, quantize_fp4
from lastbit.references.scale_rules import Scales, by_rule
from lastbit.references.scaling import Scaling

__all__ = ["Codes", "Quantized", "Scales", "given", "quantize", "quantize_with", "right", "right_scales", "scales"]


def scales(x: ArrayLike, scaling: "str | Scaling", fmt: str = "f32", global_scale: Codes | None = None) -> Scales:
    """The scales of `x`, float64 numbers of the format `fmt`, under the scaling's rule.

    A group's NaN makes its scale NaN. `global_scale`, a code, replaces that of the tensor.
    Raises ScalingError for the rule "given", and for a shape without the scaling's axes.
    """
    x, scaling = np.asarray(x, np.float64), Scaling.of(scaling)
    found = by_rule(x, scaling, fmt, global_scale)
    return better(x, found, scaling, fmt) if scaling.rule == "four_over_six" else found


def quantize(x: ArrayLike, scaling: "str | Scaling", fmt: str = "f32", global_scale: Codes | None = None) -> Quantized:
    """The codes and scales of `x`, float64 numbers of the format `fmt`.

    Exact: each declared operation rounds once, and what is not declared is not rounded.
    Raises ScalingError where the arithmetic is undeclared (use `allowed_codes`), or the rule is "given".
    """
    scaling = Scaling.of(scaling)
    values = np.asarray(x)
    if applies(scaling, fmt, values.shape) and values.dtype.kind == "f":
        return quantize_fp4(values, scaling, fmt, global_scale)
    return quantize_with(values, scales(values, scaling, fmt, global_scale), scaling, fmt)
