"""The judge of dequantizers at its edges: flushed scales, and errors as large as the output's range."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.contract import Contract, resolved
from lastbit.dequantize_judge import budget, judge_dequantized
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.verdict import Outcome

MXFP8, AFFINE, ROW = Scaling.of("mxfp8_e4m3"), Scaling.of("i8_row_affine"), Scaling.of("i8_row")


def promise(subnormals: str, order: str | None = None, out: str = "f32") -> Contract:
    contract = Contract(scale_arithmetic=order, subnormals=subnormals)
    return resolved(contract, {"codes": "i8", "scale": "f32", "out": out})


def stored(scaling: Scaling, values: list[float], scale: float, zero: float | None = None) -> Quantized:
    element, fmt = Format.of(scaling.element), Format.of(scaling.scale_format or "f32")
    return Quantized(
        element.encode(np.array([values])),
        fmt.encode(np.array([[scale]])),
        None if zero is None else element.encode(np.array([[zero]])),
    )


def passes(got: list[float], tensor: Quantized, scaling: Scaling, contract: Contract, out: str = "f32") -> bool:
    return (
        judge_dequantized(Format.of(out).encode(np.array([got])), out, tensor, scaling, contract).outcome
        is Outcome.PASS
    )


@pytest.mark.parametrize(("scaling", "scale"), [(MXFP8, 2.0**-127), (ROW, 1.5 * 2.0**-128), (ROW, -(2.0**-127))])
def test_a_subnormal_scale_may_count_as_zero_where_subnormals_are_flushed(scaling: Scaling, scale: float) -> None:
    """Then its whole product is lost, which itself is a normal number."""
    tensor, right = stored(scaling, [96.0, -64.0], scale), [96 * scale, -64 * scale]
    assert min(map(abs, right)) > Format.of("f32").min_normal
    for got, flushed in (
        (right, True),
        ([0.0, 0.0], True),
        ([0.0, right[1]], True),
        ([right[0], right[1] * 1.5], True),
    ):
        good = got[1] in (0.0, right[1])
        assert passes(got, tensor, scaling, promise("flush")) is (flushed and good)
        assert passes(got, tensor, scaling, promise("keep")) is (got == right)


@pytest.mark.parametrize("scale", [2.0**-126, 2.0**-125, 1.0, -(2.0**-126), -1.0])
def test_a_normal_scale_is_never_flushed(scale: float) -> None:
    for scaling in (MXFP8, ROW) if scale > 0 else (ROW,):
        tensor = stored(scaling, [96.0, 2.0], scale)
        assert passes([96 * scale, 2 * scale], tensor, scaling, promise("flush"))
        assert not passes([0.0, 0.0], tensor, scaling, promise("flush"))


@pytest.mark.parametrize("order", [None, "scales_first", "element_first", "fused_zero"])
def test_flushed_scale_takes_its_zero_point_along(order: str | None) -> None:
    """(q - z) 0 = q 0 - z 0 = 0; what remains of q s or z s alone is wrong."""
    tensor, s = stored(AFFINE, [100.0, -100.0], 2.0**-127, 5.0), 2.0**-127
    assert passes([95 * s, -105 * s], tensor, AFFINE, promise("flush", order))
    assert passes([0.0, 0.0], tensor, AFFINE, promise("flush", order))
    assert not passes([0.0, 0.0], tensor, AFFINE, promise("keep", order))
    for wrong in ([100 * s, -105 * s], [95 * s, 5 * s]):
        assert not passes(wrong, tensor, AFFINE, promise("flush", order))


def test_a_format_without_a_scale_has_none_to_flush() -> None:
    plain = replace(ROW, scale_format=None, granularity="tensor")
    tensor = Quantized(Format.of("i8").encode(np.array([[3.0, -7.0]])), None)
    assert passes([3.0, -7.0], tensor, plain, promise("flush"))
    assert not passes([0.0, -7.0], tensor, plain, promise("flush"))


def test_a_bound_says_where_it_comes_from_and_has_no_statistics() -> None:
    tensor = stored(AFFINE, [100.0, -100.0], 0.25, 5.0)
    found = budget(promise("keep", "fused_zero"), "f32", tensor, AFFINE, truth(tensor, AFFINE))
    assert found.formula.startswith("u*(|q s| + |z s|) + u*|x|")
    assert found.source.startswith("quantize_law.md 5")
    assert (found.sigma, found.unstatistical) == (None, "both products share the scale's error")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_error_as_large_as_the_range_leaves_nothing_promised(sign: float) -> None:
    """q s and z s of 2^120 that cancel are off by 2^96 and more: beyond all of f16, on either side. A sum beyond the
    range by more than its error is an overflow like any other."""
    contract, fmt = promise("keep", "fused_zero", "f16"), Format.of("f16")
    tensor = stored(AFFINE, [100.0], sign * 2.0**113, 100.0)
    for got in (0.0, np.inf, -np.inf, 1.0, np.nan):
        assert passes([got], tensor, AFFINE, contract, "f16")
    small = stored(AFFINE, [100.0], sign, 5.0)
    assert passes([sign * 95], small, AFFINE, contract, "f16")
    assert not any(passes([got], small, AFFINE, contract, "f16") for got in (np.inf, -np.inf, np.nan))
    plain = stored(AFFINE, [100.0], sign * 2.0**30, 5.0)
    assert passes([sign * np.inf], plain, AFFINE, contract, "f16")
    assert not passes([-sign * np.inf], plain, AFFINE, contract, "f16")
    assert not passes([sign * fmt.max], plain, AFFINE, contract, "f16")
