"""Test data: exact recipes are exact in any order, every recipe gives what it names, and seeds decide everything."""

import zlib
from fractions import Fraction

import numpy as np
import pytest

from lastbit.references.data import RECIPES, Operand, applicable, operands
from lastbit.references.formats import Format

SIZES = (
    {"m": 17, "n": 33, "k": 65},
    {"m": 1, "n": 1, "k": 1},
    {"m": 5, "n": 2, "k": 3},
    {"batch": 2, "m": 3, "n": 5, "k": 1000},
)
FORMATS = (
    ("f64", "f64", 53),
    ("f32", "f32", 24),
    ("f16", "f16", 24),
    ("f16", "f32", 24),
    ("bf16", "bf16", 24),
    ("bf16", "f32", 8),
    ("f16", "f16", 11),
    ("e4m3fn", "f32", 13),
    ("e4m3fn", "e4m3fn", 24),
    ("e5m2", "bf16", 24),
    ("e2m1fn", "f32", 24),
    ("i8", "i32", 31),
    ("u8", "i32", 31),
)
EXACT = [name for name, recipe in RECIPES.items() if recipe.exact and name != "full_range"]


def quantum(values: np.ndarray) -> np.ndarray:
    """Weight of the lowest set bit of each row, 1 for a row of zeros."""
    whole, exponent = np.frexp(values)
    digits = np.ldexp(np.abs(whole), 53).astype(np.int64)
    lowest = np.ldexp((digits & -digits).astype(np.float64), exponent - 53)
    least = lowest.min(axis=-1, initial=np.inf, where=values != 0)
    return np.where(np.isinf(least), 1.0, least)


@pytest.mark.parametrize("recipe", EXACT)
@pytest.mark.parametrize(("operand", "out", "bits"), FORMATS)
def test_exact_recipe_sums_stay_within_the_accumulator(recipe: str, operand: str, out: str, bits: int) -> None:
    """sum |a_i b_i| <= 2^exact_bits quanta, so that every partial sum in every order is an integer it holds."""
    formats = {"a": operand, "b": operand, "out": out}
    if not applicable(recipe, formats):
        assert recipe == "ties"
        assert Format.of(operand).kind == "integer" or Format.of(out).precision > 11
        return
    for sizes in SIZES:
        drawn = operands(recipe, formats, sizes, 0, exact_bits=bits)
        a, b = drawn["a"].values, drawn["b"].values
        weight = np.abs(a) @ np.abs(b)
        assert weight.max() <= Format.of(out).max
        if recipe.startswith("one_hot"):
            assert (np.count_nonzero(a, axis=-1) == 1).all() or (np.count_nonzero(b, axis=-2) == 1).all()
            continue
        unit = quantum(a)[..., :, None] * quantum(np.swapaxes(b, -1, -2))[..., None, :]
        assert (weight <= np.ldexp(unit, bits)).all()


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_recipe_draws_values_of_its_formats_and_not_only_zeros(recipe: str) -> None:
    for operand, out, bits in FORMATS:
        formats = {"a": operand, "b": operand, "out": out}
        if applicable(recipe, formats):
            drawn = operands(recipe, formats, SIZES[0], 3, exact_bits=bits)
            for operand_ in drawn.values():
                assert np.array_equal(
                    Format.of(operand_.format).decode(operand_.codes), operand_.values, equal_nan=True
                )
                assert np.count_nonzero(operand_.values) > 0


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_seed_decides_every_bit(recipe: str) -> None:
    formats = {"a": "i8", "b": "i8", "out": "i32"} if recipe == "full_range" else {"a": "f16", "b": "f16", "out": "f16"}
    one, same, other = (operands(recipe, formats, SIZES[0], seed)["a"].codes for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    if recipe not in ("one_hot_a", "truncation"):  # their a is the same for every seed
        assert not np.array_equal(one, other)


def test_bits_are_the_same_on_every_machine() -> None:
    """A stored digest: changed data would make every golden baseline and every reported seed another one."""
    digest = 0
    for name in sorted(RECIPES):
        formats = (
            {"a": "i8", "b": "i8", "out": "i32"} if name == "full_range" else {"a": "bf16", "b": "f16", "out": "f32"}
        )
        for operand in operands(name, formats, SIZES[0], 0).values() if applicable(name, formats) else ():
            digest = zlib.crc32(operand.codes.tobytes(), digest)
    assert f"{digest:08x}" == "9a10951b"


def test_ties_are_at_and_beside_midpoints_of_the_output() -> None:
    drawn = operands("ties", {"a": "bf16", "b": "bf16", "out": "bf16"}, SIZES[0], 0)
    out = Format.of("bf16")
    sides = set()
    for row, column in zip(drawn["a"].values, drawn["b"].values.T[:17], strict=True):
        total = sum((Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)), Fraction(0))
        down, up = (Fraction(out.round_rational(total, rounding=mode)) for mode in ("down", "up"))
        middle = (down + up) / 2
        assert abs(total - middle) <= (up - down) / 8
        sides.add((total > middle) - (total < middle))
    assert sides == {-1, 0, 1}


def test_operand_saturates_what_the_format_cannot_hold_and_keeps_infinities() -> None:
    operand = Operand.of(np.array([1e9, np.inf, -np.inf, np.nan]), "f16")
    assert operand.values[0] == 65504
    assert operand.values[1] == np.inf
    assert operand.values[2] == -np.inf
    assert np.isnan(operand.values[3])


def test_subnormals_and_overflow_are_reached() -> None:
    tiny = operands("subnormals", {"a": "f16", "b": "f16", "out": "f16"}, SIZES[0], 0)["a"].values
    assert (np.abs(tiny[tiny != 0]) < Format.of("f16").min_normal).any()
    drawn = operands("near_overflow", {"a": "f16", "b": "f16", "out": "f16"}, SIZES[0], 0)
    sums = drawn["a"].values @ drawn["b"].values
    assert sums.min() < Format.of("f16").max < sums.max()
