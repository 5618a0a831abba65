"""What the judge of quantizers says of a wrong code: its place, what it may be, and what it was made of."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quantize_cases import AFFINE, MXFP8, MXINT8, NVFP4, ROW, SIXTEENTHS, TENSOR, X, judged, moved

from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling
from lastbit.verdict import Outcome


def failures() -> Iterator[tuple[Any, Scaling, tuple[str, tuple[int, ...], int], str, str]]:
    """Numbers, scaling, the code that is moved, where that is seen, and the reason."""
    yield X, ROW, ("codes", (0, 1), 1), "codes[0, 1]", (
        "wrong codes at (0, 1): got 0x41 (2.25), want 0x40 (2)\n"
        "1 of 8 elements wrong, none may be: fp8_row, amax_over_max, divide, nearest-even, in f32\n"
        "x is 2, its scale 1, the quotient 2"
    )  # fmt: skip
    yield X, ROW, ("scale", (1, 0), 1), "scale[1, 0]", (
        "wrong scale at (1, 0): got 0x3f000001 (0.5), want 0x3f000000 (0.5)\n"
        "1 of 2 elements wrong, none may be: fp8_row, amax_over_max, divide, nearest-even, in f32\n"
        "numbers from -8 to 224 have this scale"
    )  # fmt: skip
    yield X, TENSOR, ("scale", (), 1), "scale[]", (
        "wrong scale at (): got 0x3f800001 (1), want 0x3f800000 (1)\n"
        "the only element wrong, none may be: fp8_tensor, amax_over_max, divide, nearest-even, in f32\n"
        "numbers from -8 to 448 have this scale"
    )  # fmt: skip
    yield SIXTEENTHS, NVFP4, ("global_scale", (), 1), "global_scale[]", (
        "wrong global scale at (): got 0x3b430c32 (0.00297619), want 0x3b430c31 (0.00297619)\n"
        "the only element wrong, none may be: nvfp4, amax_over_max, reciprocal, nearest-even, in f32\n"
        "amax of the tensor is 8"
    )  # fmt: skip
    yield SIXTEENTHS, NVFP4, ("codes", (1, 3), 1), "codes[1, 3]", (
        "wrong codes at (1, 3): got 0x3 (1.5), want 0x2 (1)\n"
        "1 of 32 elements wrong, none may be: nvfp4, amax_over_max, reciprocal, nearest-even, in f32\n"
        "x is 1.5, its scale 1.23809526, the quotient 1.21153844"
    )  # fmt: skip
    yield SIXTEENTHS, NVFP4, ("scale", (1, 0), 1), "scale[1, 0]", (
        "wrong scale at (1, 0): got 0x7e (448), want 0x7d (416)\n"
        "1 of 2 elements wrong, none may be: nvfp4, amax_over_max, reciprocal, nearest-even, in f32\n"
        "numbers from 0 to 7.5 have this scale"
    )  # fmt: skip
    affine = np.array([[-10.0, 245.0, 0.0, 100.0]])
    yield affine, AFFINE, ("zero_point", (0, 0), 1), "zero_point[0, 0]", (
        "wrong zero point at (0, 0): got 0x8b (-117), want 0x8a (-118)\n"
        "the only element wrong, none may be: i8_row_affine, affine_min_max, reciprocal, nearest-even, in f32\n"
        "numbers from -10 to 245 have this zero point"
    )  # fmt: skip
    yield affine, replace(AFFINE, compute="bf16"), ("zero_point", (0, 0), 1), "zero_point[0, 0]", (
        "wrong zero point at (0, 0): got 0x8b (-117), want 0x8a (-118)\n"
        "the only element wrong, none may be: i8_row_affine, affine_min_max, reciprocal, nearest-even, "
        "scales in f32, quotients in bf16\nnumbers from -10 to 245 have this zero point"
    )  # fmt: skip
    power = np.concatenate([np.full((1, 32), 448.0), np.full((1, 32), 7.0)])
    yield power, MXFP8, ("codes", (1, 2), 2), "codes[1, 2]", (
        "wrong codes at (1, 2): got 0x80 (-0), want 0x7e (448)\n"
        "1 of 64 elements wrong, none may be: mxfp8_e4m3, floor, exact, nearest-even\n"
        "x is 7, its scale 0.015625, the quotient 448"
    )  # fmt: skip
    yield np.full((1, 32), 1.5), MXINT8, ("codes", (0, 2), -1), "codes[0, 2]", (
        "wrong codes at (0, 2): got 0x5f (95), want 0x60 (96)\n"
        "1 of 32 elements wrong, none may be: mxint8, floor, exact, nearest-even\n"
        "x is 1.5, its scale 1, the quotient 96"
    )  # fmt: skip
    yield X, replace(ROW, smallest_divisor=0.75), ("codes", (1, 1), -1), "codes[1, 1]", (
        "wrong codes at (1, 1): got 0xd2 (-10), want 0xd3 (-11)\n"
        "1 of 8 elements wrong, none may be: fp8_row, amax_over_max, divide, nearest-even, in f32\n"
        "x is -8, its scale 0.5, divided by 0.75, the quotient -10.6666667"
    )  # fmt: skip
    yield SIXTEENTHS, replace(NVFP4, smallest_divisor=480.0), ("codes", (1, 3), 2), "codes[1, 3]", (
        "wrong codes at (1, 3): got 0x4 (2), want 0x2 (1)\n"
        "1 of 32 elements wrong, none may be: nvfp4, amax_over_max, reciprocal, nearest-even, in f32\n"
        "x is 1.5, its scale 1.23809526, divided by 1.42857146, the quotient 1.04999998"
    )  # fmt: skip
    yield SIXTEENTHS / 64, NVFP4, ("global_scale", (), 1), "global_scale[]", (
        "wrong global scale at (): got 0x38430c32 (4.6503e-05), want 0x38430c31 (4.6503e-05)\n"
        "the only element wrong, none may be: nvfp4, amax_over_max, reciprocal, nearest-even, in f32\n"
        "amax of the tensor is 0.125"
    )  # fmt: skip
    yield X, replace(ROW, arithmetic=None), ("codes", (0, 0), -3), "codes[0, 0]", (
        "wrong codes at (0, 0): got 0x7b (352), want 0x7e (448)\n"
        "1 of 8 elements wrong, none may be: fp8_row, amax_over_max, undeclared arithmetic, nearest-even, in f32\n"
        "x is 448, its scale 1, the quotient 448"
    )  # fmt: skip


FAILURES = list(failures())


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_a_wrong_code_is_told_with_its_place_and_what_it_was_made_of(number: int) -> None:
    x, scaling, (part, index, by), where, reason = FAILURES[number]
    right = quantize(x, replace(scaling, arithmetic=scaling.arithmetic or "divide"))
    assert judged(x, scaling, right).outcome is Outcome.PASS
    found = judged(x, scaling, moved(right, part, index, by))
    assert (found.outcome, found.where, found.measured, found.allowed) == (Outcome.OVER_BUDGET, where, 1.0, 0.0)
    assert found.reason == reason
