"""The recipes of logits: the same bits every time, and each with what it is named for."""

import numpy as np
import pytest

from lastbit.references.formats import Format
from lastbit.references.softmax_data import ALL, RECIPES, applicable, operands

FORMATS = ("f64", "f32", "f16", "bf16")


def draw(recipe: str, fmt: str, m: int = 17, n: int = 65, seed: int = 0) -> np.ndarray:
    return operands(recipe, {"x": fmt, "out": fmt}, {"m": m, "n": n}, seed)["x"].values


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_draws_values_of_its_format_at_every_size(recipe: str, fmt: str) -> None:
    formats = {"x": fmt, "out": fmt}
    for sizes in (
        {"m": 1, "n": 1},
        {"m": 2, "n": 3},
        {"batch": 2, "m": 9, "n": 4},
        {"m": 0, "n": 3},
        {"m": 12, "n": 2},
    ):
        x = operands(recipe, formats, sizes, 5)["x"]
        assert x.values.shape == tuple(sizes.values())
        np.testing.assert_array_equal(x.values, Format.of(fmt).decode(x.codes))
        again = operands(recipe, formats, sizes, 5)["x"]
        np.testing.assert_array_equal(x.codes, again.codes)


@pytest.mark.parametrize("fmt", FORMATS)
def test_recipes_are_what_they_say(fmt: str) -> None:
    one_hot = draw("one_hot", fmt)
    assert (np.isfinite(one_hot).sum(axis=-1) == 1).all()
    assert set(np.argmax(one_hot, axis=-1)) >= {0, 64}
    equal = draw("equal", fmt)
    assert (equal == equal[:, :1]).all()
    far = np.sort(draw("far", fmt), axis=-1)
    assert (far[:, -1] - far[:, -2] > 5e4).all()
    several = draw("several", fmt)
    assert set(np.unique(several)) == {-np.inf, 2.0}
    assert not np.isneginf(several).all(axis=-1).any()
    masked = draw("masked", fmt)
    assert np.isneginf(masked).any()
    assert not np.isneginf(masked).all(axis=-1).any()
    special = draw("special", fmt, m=33)
    assert np.isnan(special).any()
    assert np.isposinf(special).any()
    assert np.isneginf(special).all(axis=-1).any()
    assert np.isfinite(special[-1]).all()
    huge = draw("near_overflow", fmt)
    assert (np.abs(huge) >= 0.89 * Format.of(fmt).max).all()
    assert (huge > 0).any(axis=-1).sum() > 5
    assert np.ptp(draw("spread", fmt), axis=-1).min() >= 175
    running = np.maximum.accumulate(draw("increasing", fmt, n=128)[0])
    assert (np.diff(running[::16]) > 0).all()
    assert np.ptp(draw("low", fmt).max(axis=-1)) > 300
    shifted = draw("shifted", fmt)
    for constant in (32.0, -32.0):
        moved = shifted + constant
        np.testing.assert_array_equal(Format.of(fmt).round(moved), moved)


def test_unknown_recipe_and_formats_without_infinity() -> None:
    with pytest.raises(KeyError):
        operands("nothing", {"x": "f32", "out": "f32"}, {"m": 1, "n": 1}, 0)
    assert not applicable("masked", {"x": "e4m3fn", "out": "f32"})
    assert applicable("normal", {"x": "e4m3fn", "out": "f32"})
    assert all(recipe.exact <= ALL for recipe in RECIPES.values())
