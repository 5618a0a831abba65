"""The judge of quantizers in small numbers: which codes of which part are right, what is free, what a failure says."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from quantize_cases import AFFINE, F32, MXFP8, NVFP4, ROW, SIXTEENTHS, TENSOR, X, judged, moved

from lastbit.quantize_judge import Right, _computed, _loosened, _mask, judge_quantized, right_parts
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized, given, quantize, quantize_with
from lastbit.references.scaling import Scaling
from lastbit.verdict import Outcome


def test_right_codes_pass_with_nothing_to_say() -> None:
    found, hole = judge_quantized(X, "f32", ROW, quantize(X, ROW))
    assert (found.outcome, found.reason, found.measured, found.allowed, found.where) == (Outcome.PASS, "", 0, 0, "")
    assert (found.formula, found.proof) == ("exact [fp8_row: amax_over_max, divide, nearest-even]", "exact")
    assert found.stats is not None
    assert found.stats.n == 8
    assert (found.notes, hole) == ({}, "")


def test_all_wrong_codes_are_counted_and_the_first_is_shown() -> None:
    found = judged(X, ROW, moved(moved(quantize(X, ROW), "codes", (1, 3), 1), "codes", (0, 3), 1))
    assert (found.measured, found.where) == (2.0, "codes[0, 3]")
    assert found.reason.startswith("wrong codes at (0, 3): got 0x31 (0.5625), want 0x30 (0.5)\n2 of 8 elements wrong, ")


def test_scales_are_judged_before_codes_and_the_tensors_before_those_of_groups() -> None:
    assert [right.name for right in right_parts(SIXTEENTHS, "f32", NVFP4, quantize(SIXTEENTHS, NVFP4))] == [
        "global_scale",
        "scale",
        "codes",
    ]
    x = np.array([[-10.0, 245.0]])
    assert [right.name for right in right_parts(x, "f32", AFFINE, quantize(x, AFFINE))] == [
        "scale",
        "zero_point",
        "codes",
    ]
    undeclared = replace(AFFINE, arithmetic=None)
    assert [right.name for right in right_parts(x, "f32", undeclared, quantize(x, AFFINE))] == [
        "scale",
        "zero_point",
        "codes",
    ]
    worse = moved(moved(quantize(SIXTEENTHS, NVFP4), "codes", (0, 0), 1), "scale", (1, 0), 1)
    assert judged(SIXTEENTHS, NVFP4, worse).where == "scale[1, 0]"


def test_nan_is_another_class_and_every_nan_is_the_same() -> None:
    right = quantize(X, ROW)
    codes = right.codes.copy()
    codes[1, 1] = 0x7F
    found = judged(X, ROW, replace(right, codes=codes))
    assert (found.outcome, found.where) == (Outcome.WRONG_CLASS, "codes[1, 1]")
    assert found.reason.startswith("wrong codes at (1, 1): got 0x7f (nan), want 0xd8 (-16)\n1 of 8 elements wrong")
    x = np.array([[np.nan, 1.0]])
    known = given(ROW, F32.encode(np.ones((1, 1))))
    for nan in (0x7F, 0xFF):
        got = Quantized(np.array([[nan, 0x38]], np.uint8), known.scale)
        assert judged(x, ROW, got, scale=known).outcome is Outcome.PASS
    for wrong in (0x7E, 0x00):
        got = Quantized(np.array([[wrong, 0x38]], np.uint8), known.scale)
        assert judged(x, ROW, got, scale=known).outcome is Outcome.WRONG_CLASS


def test_stochastic_rounding_may_give_either_neighbour() -> None:
    x, scaling = np.array([[448.0, 2.125, -1.0625, 0.5]]), replace(ROW, rounding="stochastic")
    for side in ("down", "up"):
        assert judged(x, scaling, quantize(x, replace(ROW, rounding=side))).outcome is Outcome.PASS
    low = quantize(x, replace(ROW, rounding="down"))
    found = judged(x, scaling, moved(low, "codes", (0, 1), 2))
    assert found.reason.splitlines()[0] == "wrong codes at (0, 1): got 0x42 (2.5), want 2 to 2.25"
    assert judged(x, scaling, moved(low, "codes", (0, 1), -1)).outcome is Outcome.OVER_BUDGET
    assert judged(x, scaling, moved(low, "codes", (0, 3), 1)).outcome is Outcome.OVER_BUDGET


def test_codes_are_of_the_scales_that_the_quantizer_was_given() -> None:
    known = given(ROW, F32.encode(np.array([[2.0]])))
    x = np.array([[448.0, 2.125, -3.0, 0.5]])
    got = quantize_with(x, known, ROW, "f32")
    for scaling in (ROW, replace(ROW, arithmetic=None)):
        rights = right_parts(x, "f32", scaling, got, known)
        assert [right.name for right in rights] == ["codes"]
        assert judged(x, scaling, got, scale=known).outcome is Outcome.PASS
        assert judged(x, scaling, moved(got, "codes", (0, 2), 1), scale=known).where == "codes[0, 2]"
    assert judged(x, ROW, got).where == "scale[0, 0]"


def test_an_undeclared_arithmetic_has_shares_of_numbers_with_two_codes() -> None:
    """3 * 1.0625 is half way between 3 * 1 and 3 * 1.125: a quotient that is off goes up."""
    x = np.array([[448.0 * 3, 3 * 1.0625, -1.0, 0.5], [224.0, -8.0, 0.0, 3.0]])
    undeclared = replace(ROW, arithmetic=None)
    right = quantize(x, ROW)
    found = judged(x, undeclared, right)
    assert (found.outcome, found.notes) == (Outcome.PASS, {"ambiguous": "scale 1, codes 0.125"})
    assert judged(x, undeclared, moved(right, "codes", (0, 1), 1)).outcome is Outcome.PASS
    assert judged(x, undeclared, moved(right, "codes", (0, 2), 1)).outcome is Outcome.OVER_BUDGET
    powers = replace(MXFP8, arithmetic=None)
    whole = np.full((1, 32), 4.0)
    assert judged(whole, powers, quantize(whole, MXFP8)).notes == {"ambiguous": "none"}


@pytest.mark.parametrize(
    ("compute", "fmt", "unit"),
    [("f32", "f32", 2.0**-24), ("f32", "bf16", 2.0**-24), (None, "bf16", 2.0**-8), ("f16", "f32", 2.0**-11)],
)
@pytest.mark.parametrize("amax", [6.0, 0.09375])
def test_a_global_scale_of_an_undeclared_arithmetic_is_off_by_two_roundings(
    amax: float, compute: str | None, fmt: str, unit: float
) -> None:
    """amax / 2688: from its product with 1 - 2u to that with 1 + 2u, each rounded to f32."""
    scaling = replace(NVFP4, arithmetic=None, scale_compute=compute)
    x = SIXTEENTHS * (amax / 8)
    exact = Fraction(amax) / 2688
    low, high = (
        int(F32.encode(np.array(F32.round_rational(exact * (1 + sign * (2 * Fraction(unit) + Fraction(1, 2**50)))))))
        for sign in (-1, 1)
    )
    got = quantize(x, replace(NVFP4, scale_compute=compute), fmt)
    (right, *_) = right_parts(x, fmt, scaling, got)
    assert (right.name, right.fmt, int(right.low), int(right.high)) == ("global_scale", "f32", low, high)
    codes = np.array([low - 1, low, high, high + 1])
    assert [bool(right.wrong(code.astype(np.uint32))) for code in codes] == [True, False, False, True]
    assert right.free.shape == ()
    assert not right.free


def test_a_global_scale_of_another_format_is_off_by_what_float64_loses_too() -> None:
    """2 * 2^-53 + 2^-50, in f64."""
    scaling = replace(NVFP4, arithmetic=None, scale_compute="f64", global_scale="f64")
    (right, *_) = right_parts(SIXTEENTHS, "f32", scaling, quantize(SIXTEENTHS, replace(scaling, arithmetic="divide")))
    f64 = Format.of("f64")
    low, high = (float(f64.decode(np.asarray(code))) for code in (right.low, right.high))
    assert right.fmt == "f64"
    assert high / low - 1 == pytest.approx(2 * (2.0**-52 + 2.0**-50), rel=0.1)


def test_parts_that_a_quantizer_did_not_give_are_not_judged() -> None:
    undeclared = replace(NVFP4, arithmetic=None)
    got = replace(quantize(SIXTEENTHS, NVFP4), global_scale=None)
    assert [right.name for right in right_parts(SIXTEENTHS, "f32", undeclared, got)] == ["scale", "codes"]
    known = given(NVFP4, quantize(SIXTEENTHS, NVFP4).scale)
    right = quantize_with(SIXTEENTHS, known, NVFP4, "f32")
    wrong = moved(replace(right, global_scale=None, scale=known.scale), "codes", (1, 15), 1)
    found = judged(SIXTEENTHS, NVFP4, wrong, scale=known)
    assert found.reason.splitlines()[-1] == "x is 7.5, its scale 416, the quotient 0.0180288462"
    bare = judged(SIXTEENTHS, NVFP4, replace(wrong, scale=None), scale=known)
    assert bare.reason.splitlines()[-1] == "x is 7.5"


def test_formats_of_the_arithmetic_are_told_unless_nothing_is_rounded() -> None:
    assert _computed(MXFP8, "f32") == ""
    assert _computed(replace(MXFP8, arithmetic="divide"), "f32") == ", in f32"
    assert _computed(Scaling.of("nf4"), "f32") == ", in f32"
    assert _computed(replace(ROW, compute=None, scale_compute=None), "bf16") == ", in bf16"
    assert _computed(replace(ROW, compute="f32", scale_compute=None), "bf16") == ", scales in bf16, quotients in f32"


def test_something_is_shown_where_only_a_global_scale_is_open() -> None:
    """Flushing frees it, and neither scales nor codes of 100 * 2^-124."""
    x = np.full((1, 16), 100 * 2.0**-124)
    found, hole = judge_quantized(x, "f32", NVFP4, quantize(x, NVFP4), flush=True)
    assert (found.outcome, hole) == (Outcome.PASS, "")


def test_where_the_scaling_leaves_a_code_open_any_is_right_and_all_open_shows_nothing() -> None:
    """MX does not say what an infinity is."""
    x = np.ones((2, 32))
    x[0, 3] = np.inf
    right = quantize(x, MXFP8)
    assert judge_quantized(x, "f32", MXFP8, moved(right, "codes", (0, 5), 9))[1] == ""
    assert judged(x, MXFP8, moved(right, "codes", (0, 5), 9)).outcome is Outcome.PASS
    assert judged(x, MXFP8, moved(right, "scale", (0, 0), 9)).outcome is Outcome.PASS
    assert judged(x, MXFP8, moved(right, "codes", (1, 5), 9)).outcome is Outcome.OVER_BUDGET
    found, hole = judge_quantized(x[:1], "f32", MXFP8, quantize(x[:1], MXFP8))
    assert found.outcome is Outcome.PASS
    assert hole == "mxfp8_e4m3 leaves open what the codes of these numbers are"
    empty = np.zeros((0, 32))
    assert judge_quantized(empty, "f32", MXFP8, quantize(empty, MXFP8))[1] == ""


def rights(shape: tuple[int, ...], scales: tuple[int, ...]) -> list[Right]:
    """Parts of which nothing is free."""
    return [
        Right(name, "f32", np.zeros(where, np.uint32), np.zeros(where, np.uint32), np.zeros(where, bool))
        for name, where in (("global_scale", ()), ("scale", scales), ("zero_point", scales), ("codes", shape))
    ]


def freed(x: Any, scaling: Scaling, known: Any = None) -> dict[str, list[Any]]:
    found = _loosened(rights(x.shape, scaling.scale_shape(x.shape)), x, scaling, known)
    return {right.name: right.free.tolist() for right in found}


def test_flushing_frees_what_depends_on_a_subnormal_number() -> None:
    """Below 2^-124 a number, and below 448 * 2^-124 an amax, or above 448 * 2^124: of which row is what is free."""
    edge, below = 448 * 2.0**-124, 447 * 2.0**-124
    x = np.array([[edge, 1.5 * 2.0**-124], [below, 0.0], [0.0, 0.0], [-below, 0.0], [448 * 2.0**124, 1.0],
                  [449 * 2.0**124, 1.0], [1.0, 2.0**-124], [1.0, -(2.0**-125)]])  # fmt: skip
    found = freed(x, ROW)
    strange = [False, True, False, True, False, True, False, False]
    assert found["scale"] == found["zero_point"] == [[each] for each in strange]
    assert found["codes"] == [[a, a or b] for a, b in zip(strange, [False] * 7 + [True], strict=True)]
    assert found["global_scale"] is False
    assert freed(x[2:3] + 2.0**-125, replace(ROW, largest=0.5))["scale"] == [[True]]
    assert freed(x[2:3] + 2.0**-124, replace(ROW, largest=0.5))["scale"] == [[False]]
    assert freed(x[2:3] + 7 * 2.0**-124, replace(ROW, largest=-8.0))["scale"] == [[True]]
    assert freed(x[2:3] + 8 * 2.0**-124, replace(ROW, largest=-8.0))["scale"] == [[False]]


def test_flushing_frees_codes_under_a_given_scale_that_is_tiny_or_huge() -> None:
    x = np.ones((6, 2))
    divisors = np.array([[2.0**-124], [2.0**-125], [-(2.0**-125)], [2.0**124], [2.0**125], [0.0]])
    known = given(ROW, F32.encode(divisors))
    assert freed(x, ROW, replace(known, divisor=divisors))["codes"] == [
        [each] * 2 for each in (False, True, True, False, True, False)
    ]


def test_flushing_frees_a_global_scale_of_tiny_numbers() -> None:
    edge = 2688 * 2.0**-124
    for amax, free in ((edge, False), (-edge, False), (0.999 * edge, True), (-0.999 * edge, True), (0.0, True)):
        x = np.zeros((1, 16))
        x[0, 0] = amax
        assert freed(x, NVFP4)["global_scale"] is free
    assert freed(np.zeros((0, 16)), NVFP4)["global_scale"] is True


def test_flushing_is_free_only_where_it_is_asked_for() -> None:
    x = np.array([[2.0**-126, 2.0**-127], [1.0, 0.5]])
    wrong = moved(quantize(x, ROW), "codes", (0, 1), 5)
    assert judged(x, ROW, wrong).outcome is Outcome.OVER_BUDGET
    assert judged(x, ROW, wrong, flush=True).outcome is Outcome.PASS
    assert judged(x, ROW, moved(quantize(x, ROW), "codes", (1, 1), 5), flush=True).where == "codes[1, 1]"


def test_what_is_right_of_a_part() -> None:
    """Codes of e4m3: 0x38 is 1, 0x80 is -0, 0x7f and 0xff are NaN."""
    one, free = np.array([0x38, 0x00, 0x7F, 0x38], np.uint8), np.array([False, False, False, True])
    codes = np.array([0x39, 0x80, 0xFF, 0x00], np.uint8)
    exact = Right("codes", "e4m3fn", one, one, free)
    assert exact.wrong(codes).tolist() == [True, True, False, False]
    assert exact.wrong(one).tolist() == [False] * 4
    assert replace(exact, signed_zeros=False).wrong(codes).tolist() == [True, False, False, False]
    ranged = replace(exact, high=one + np.uint8(1))
    assert ranged.wrong(np.array([0x39, 0x01, 0x7F, 0x00], np.uint8)).tolist() == [False] * 4
    assert ranged.wrong(np.array([0x3A, 0x02, 0x38, 0x00], np.uint8)).tolist() == [True, True, True, False]
    assert exact.ambiguous == 0.25
    also = replace(ranged, also=np.full(4, 0x3F, np.uint8))
    assert also.wrong(np.full(4, 0x3F, np.uint8)).tolist() == [False] * 4
    integers = Right("codes", "i8", np.array([1, 2], np.uint8), np.array([1, 2], np.uint8), np.zeros(2, bool))
    assert integers.wrong(np.array([1, 3], np.uint8)).tolist() == [False, True]


def test_masks_are_of_the_shape_of_their_part() -> None:
    assert _mask(None, (2, 3)).tolist() == [[False] * 3] * 2
    assert _mask(np.array([[True], [False]]), (2, 3)).tolist() == [[True] * 3, [False] * 3]


def test_codes_without_a_scale_are_told_by_their_number() -> None:
    bare = replace(TENSOR, name="bare", scale_format=None, rule="given")
    known = given(bare, None)
    x = np.array([[2.0, 3.0]])
    got = quantize_with(x, known, bare, "f32")
    found = judged(x, bare, moved(got, "codes", (0, 1), 1), scale=known)
    assert found.reason.splitlines()[-1] == "x is 3"
