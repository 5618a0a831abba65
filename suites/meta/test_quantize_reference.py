"""The exact quantizer agrees with rational arithmetic for every scaling, and says where nothing is promised."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import quantize_model as model
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_numbers import KINDS, RULED, numbers

from lastbit.references.formats import Format
from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling

#: Four over six compares two quantizers; test_four_over_six_is_the_better does it.
NAMES = [name for name in RULED if name != "nvfp4_four_over_six"]


def agree(x: Any, scaling: Scaling, fmt: str) -> None:
    """The quantizer's codes are the model's, all of them."""
    try:
        places, codes, stored, zeros = model.quantize(x, scaling, fmt)
    except model.SpecialError:
        return
    obtained = quantize(x, scaling, fmt)
    assert obtained.scale is not None
    worth = Format.of(scaling.scale_format or "").decode
    # A zero divided by -8 has a sign that rationals lack: test_quantize_libraries compares it with gguf's.
    assert worth(obtained.scale.reshape(-1)).tolist() == worth(np.array(stored)).tolist()
    if obtained.zero_point is not None:
        assert obtained.zero_point.reshape(-1).tolist() == zeros
    for group, expected in zip(places, codes, strict=True):
        assert [int(obtained.codes[place]) for place in group] == expected
    assert obtained.unspecified is not None
    assert not obtained.unspecified.any()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(kind=st.sampled_from(KINDS), fmt=st.sampled_from(["f32", "bf16", "f16"]), seed=st.integers(0, 2**32))
def test_quantize_is_rational_arithmetic(name: str, kind: str, fmt: str, seed: int) -> None:
    scaling = Scaling.of(name)
    width = {"group": scaling.group + 3, "block": 131}.get(scaling.granularity, 9)
    agree(numbers(kind, (2, width), fmt, seed), scaling, fmt)


@pytest.mark.parametrize("arithmetic", ["exact", "divide", "reciprocal", "ratio"])
@pytest.mark.parametrize("name", ["i8_row", "fp8_group128", "mxfp8_e5m2", "nf4", "u4", "i8_row_torchao"])
@settings(max_examples=6)
@given(kind=st.sampled_from(KINDS), fmt=st.sampled_from(["f32", "bf16"]), seed=st.integers(0, 2**32))
def test_every_arithmetic_is_rational(name: str, arithmetic: str, kind: str, fmt: str, seed: int) -> None:
    scaling = replace(Scaling.of(name), arithmetic=arithmetic, zero_codes=True)
    if arithmetic == "ratio" and kind == "zeros":
        return
    agree(numbers(kind, (2, 70), fmt, seed), scaling, fmt)


@pytest.mark.parametrize("rounding", ["nearest-away", "nearest-zero", "half-up"])
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_every_rounding_of_ties_is_rational(rounding: str, seed: int) -> None:
    scaling = replace(Scaling.of("i8_row"), rounding=rounding, largest=128.0, lowest=None)
    if rounding == "nearest-zero":
        scaling = replace(Scaling.of("mxfp8_e4m3"), rounding=rounding)
    agree(numbers("ties", (2, 64), "f32", seed), scaling, "f32")
