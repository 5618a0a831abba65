"""Scalings by name: what they are called, the shapes of their scales, and what cannot be asked of them."""

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lastbit.references.formats import FormatError
from lastbit.references.groups import reduced, spread
from lastbit.references.scaling import ARITHMETICS, RULES, Scaling, ScalingError, with_contract

#: What the issue promises.
PROMISED = """
    mxfp8_e4m3 mxfp8_e5m2 mxfp6_e3m2 mxfp6_e2m3 mxfp4 mxint8 nvfp4 nf4 fp8_tensor fp8_row fp8_group128 fp8_block128
    i8_tensor i8_row i8_affine i4_group32 i4_group64 i4_group128 i4_group32_zp i4_group64_zp i4_group128_zp u4
""".split()  # noqa: SIM905


def test_every_promised_name_is_there() -> None:
    assert set(PROMISED) <= set(Scaling.names())


@pytest.mark.parametrize("name", Scaling.names())
def test_a_preset_is_called_what_it_is_and_says_where_it_is_from(name: str) -> None:
    scaling = Scaling.of(name)
    assert scaling.name == name
    assert len(scaling.source) > 20
    assert Scaling.of(scaling) is scaling
    assert scaling.bits_per_value >= 4


def test_no_two_presets_are_the_same() -> None:
    """But for u4, the short name of u4_group128."""
    ignored = ("name", "source")
    seen: dict[tuple[object, ...], str] = {}
    for name in Scaling.names():
        key = tuple(getattr(Scaling.of(name), f.name) for f in fields(Scaling) if f.name not in ignored)
        assert key not in seen or {name, seen[key]} == {"u4", "u4_group128"}, (name, seen[key])
        seen[key] = name


def test_an_unknown_name_tells_the_nearest_ones() -> None:
    with pytest.raises(ScalingError, match="did you mean mxfp4 or "):
        Scaling.of("mxfp5")


@pytest.mark.parametrize(
    "change",
    [
        {"granularity": "rows"},
        {"rule": "round"},
        {"arithmetic": "multiply"},
        {"packing": "nibbles"},
        {"granularity": "group", "group": 0},
        {"granularity": "block", "block": (0, 4)},
        {"steps": 127},
        {"steps": 64, "global_scale": "f32"},
        {"arithmetic": "fused"},
    ],
)
def test_a_field_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ScalingError):
        replace(Scaling.of("fp8_tensor"), **change)  # type: ignore[arg-type]


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(FormatError, match="e4m4"):
        replace(Scaling.of("fp8_tensor"), element="e4m4")


def test_a_contract_changes_rule_and_arithmetic() -> None:
    changed = with_contract("mxfp4", "rceil", "reciprocal")
    assert (changed.rule, changed.arithmetic) == ("rceil", "reciprocal")
    assert with_contract("mxfp4", None, None) == Scaling.of("mxfp4")


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("fp8_tensor", (3, 5), ()),
        ("fp8_row", (2, 3, 5), (2, 3, 1)),
        ("fp8_column", (2, 3, 5), (2, 1, 5)),
        ("mxfp4", (3, 65), (3, 3)),
        ("fp8_block128", (2, 129, 128), (2, 2, 1)),
        ("nf4", (130,), (3,)),
    ],
)
def test_scales_have_the_shape_of_what_they_scale(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    scaling = Scaling.of(name)
    assert scaling.scale_shape(shape) == expected
    x = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    assert reduced(x, scaling, np.max).shape == expected
    assert spread(reduced(x, scaling, np.max), scaling, shape).shape == shape
    assert (spread(reduced(x, scaling, np.max), scaling, shape) >= x).all()


def test_groups_along_the_first_axis() -> None:
    scaling = replace(Scaling.of("i4_group32"), axis=0)
    x = np.arange(1.0, 41 * 3 + 1).reshape(41, 3)
    assert scaling.scale_shape(x.shape) == (2, 3)
    assert reduced(x, scaling, np.max).tolist() == [x[:32].max(axis=0).tolist(), x[32:].max(axis=0).tolist()]
    assert np.array_equal(spread(reduced(x, scaling, np.max), scaling, x.shape)[31:33], [x[31], x[40]])


def test_too_few_axes_are_refused() -> None:
    with pytest.raises(ScalingError, match="no block"):
        Scaling.of("fp8_block128").scale_shape((4,))


def test_the_page_lists_every_preset_rule_and_arithmetic() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "quantize.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", page))
    assert set(Scaling.names()) <= named
    assert set(RULES) <= named
    assert {name for name in ARITHMETICS if name} <= named
