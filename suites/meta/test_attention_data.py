"""Recipes of attention make the data that they promise, the same everywhere, and exact where they say so."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_attention import Style, simulate

from lastbit.contract import Contract
from lastbit.judge import judge_exact
from lastbit.references.attention import attention_truth, blocks
from lastbit.references.attention_data import RECIPES, operands, problem_of, reason_not
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

SIZES = {"batch": 2, "hq": 4, "hkv": 2, "lq": 9, "lk": 64, "d": 16, "dv": 8}
NARROW = {name: dict.fromkeys(("q", "k", "v", "out"), name) for name in ("bf16", "f16", "f32", "f64")}
STYLES = (
    Style(),
    Style(early=True),
    Style(tile=16, exp2=True),
    Style(tile=7, splits=4),
    Style(reverse=True, tile=1),
    Style(tile=8, fma=True, biased=True),
    Style(tile=16, splits=4, lse_scale=True),
    Style(root_scale=True, rounded_sum=True),
)
OPTIONS = ({}, {"causal": True}, {"window": (5, 2)}, {"scale": -0.25}, {"causal": True, "softcap": 8.0})


def drawn(recipe, kind="bf16", options=None, extras=(), seed=0, **sizes):
    """Operands and their problem."""
    found = operands(recipe, NARROW[kind], SIZES | sizes, seed, extras=extras, options=options)
    return found, problem_of(found, options or {})


@pytest.mark.parametrize("recipe", RECIPES)
def test_data_are_on_their_grids_and_repeat(recipe):
    for kind, formats in NARROW.items():
        for options in OPTIONS:
            if reason_not(recipe, formats, SIZES, options):
                continue
            found, problem = drawn(recipe, kind, options)
            again, _ = drawn(recipe, kind, options)
            other, _ = drawn(recipe, kind, options, seed=1)
            assert problem.shape == (2, 4, 9, 8)
            for name in ("q", "k", "v"):
                fmt = Format.of(kind)
                assert np.array_equal(fmt.decode(found[name].codes), found[name].values, equal_nan=True)
                assert np.array_equal(found[name].codes, again[name].codes)
            assert any(not np.array_equal(found[n].codes, other[n].codes) for n in ("q", "k", "v"))
            if recipe != "poison":
                assert all(np.isfinite(found[n].values).all() for n in ("q", "k", "v"))


def test_extras_have_their_shapes_and_formats():
    extras = ("mask", "bias", "sinks")
    found, problem = drawn("sharp", "bf16", {"softcap": 5.0, "window": (3, -1)}, extras)
    assert list(found) == ["q", "k", "v", "mask", "bias", "sinks"]
    assert [found[n].format for n in extras] == ["u8", "bf16", "f32"]
    assert [found[n].values.shape for n in extras] == [(2, 1, 9, 64), (1, 4, 9, 64), (4,)]
    assert problem.mask.dtype == bool
    assert not problem.mask[:, :, -1].any()
    assert problem.softcap == 5.0
    assert problem.window == (3, -1)
    additive = operands("sharp", NARROW["f16"] | {"mask": "f16"}, SIZES, 0, extras=("mask",))
    assert set(np.unique(additive["mask"].values)) == {-np.inf, 0.0, -0.5, 1.25}
    assert problem_of(additive, {}).mask.dtype == np.float64


def test_policies_of_the_contract_reach_the_problem():
    found, _ = drawn("normal")
    chosen = problem_of(found, {"causal": True}, Contract(causal_alignment="top-left", masked_row="nan"))
    assert (chosen.causal, chosen.causal_alignment, chosen.masked_row) == (True, "top-left", "nan")


def logits(problem):
    """All logits, NaN where a key is left out, (b, hq, lq, lk)."""
    found = np.full(problem.scores, np.nan)
    for part in blocks(problem):
        found[part.batch, part.head, part.rows] = np.where(part.keep, part.logits, np.nan)
    return found


@pytest.mark.parametrize("kind", ["bf16", "f16", "f32"])
def test_logits_are_what_recipes_say(kind):
    plain = np.nanstd(logits(drawn("normal", kind)[1]))
    assert 0.7 < plain < 1.3
    assert 2.8 < np.nanstd(logits(drawn("sharp", kind)[1])) < 5.2
    assert 20 < np.nanstd(logits(drawn("sharper", kind)[1])) < 40
    sunk = logits(drawn("sink", kind)[1])
    assert (sunk[:, 0, 0, 0] - sunk[:, 0, 0, 1:].max(-1) > 15).all()
    assert (sunk[:, 0, 4, 0] - sunk[:, 0, 4, 1:].max(-1) < 2).all()
    for recipe, sign in (("increasing", 1), ("decreasing", -1)):
        blocks_of_8 = sign * logits(drawn(recipe, kind)[1]).reshape(2, 4, 9, 8, 8).max(-1)
        assert (np.diff(blocks_of_8, axis=-1) > 0).mean() > 0.98
    tied = logits(drawn("equal_maxima", kind)[1])
    assert ((tied == tied.max(-1, keepdims=True)).sum(-1) >= 64 // 3).mean() > 0.9
    for recipe, size in (("offset", 1e4), ("low_offset", -6e4)):
        shifted = logits(drawn(recipe, kind)[1])[:, :, 0]
        assert (shifted / size > 0.7).all()
        assert (shifted / size < 1.5).all()
    near = drawn("near_overflow", kind)[1]
    assert (logits(near)[:, :, ::2] / near.factor > 65504).all()
    assert (np.abs(logits(near)[:, :, 1::2]) < 10).all()


def test_poisoned_keys_are_those_that_nobody_sees():
    for options in ({"causal": True}, {"window": (3, 0)}, {"causal": True, "causal_alignment": "top-left"}):
        found, problem = drawn("poison", "f16", options, lk=80)
        marked = ~np.isfinite(found["k"].values).all(-1)
        assert np.array_equal(marked, ~np.isfinite(found["v"].values).all(-1))
        unseen = np.isnan(logits(problem)).reshape(2, 2, 2, 9, 80).all((2, 3))
        assert np.array_equal(marked, unseen)
        assert np.isfinite(attention_truth(problem).out.hi).all()
    found, _ = drawn("poison", "f16", {"causal": True, "causal_alignment": "top-left"}, lk=80)
    assert (~np.isfinite(found["k"].values)).all(-1)[:, :, 9:].all()


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.exact])
def test_exact_answers_are_exact_in_every_order(recipe, kind):
    tried = 0
    for options in OPTIONS:
        for extras in ((), ("mask",)):
            if reason_not(recipe, NARROW[kind], SIZES, options, extras):
                continue
            _, problem = drawn(recipe, kind, options, extras)
            truth = attention_truth(problem)
            narrow = kind if kind in ("bf16", "f16") else ""
            # Weights exp(lse_s - lse) of logarithms are not exact where several splits have a part.
            styles = [style for style in STYLES if recipe == "one_hot" or not style.lse_scale]
            for style in styles if kind != "f64" else ():
                y, _ = simulate(problem, replace(style, probabilities=narrow), kind)
                verdict = judge_exact(Format.of(kind).encode(y), kind, truth.out, Contract())
                assert verdict.outcome is Outcome.PASS, f"{style} {verdict.reason}"
            tried += 1
    assert tried


def test_one_hot_answers_are_rows_of_v():
    found, problem = drawn("one_hot", "bf16", {"causal": True})
    truth = attention_truth(problem)
    rounded = Format.of("bf16").round(truth.out.hi)
    chosen = np.nanargmax(np.nan_to_num(logits(problem), nan=-np.inf), axis=-1)
    assert len(np.unique(chosen)) > 8
    for b, h, i in np.ndindex(2, 4, 9):
        assert np.array_equal(rounded[b, h, i], found["v"].values[b, h // 2, chosen[b, h, i]])
    assert np.array_equal(np.nanmax(logits(problem), axis=-1), np.zeros((2, 4, 9)))
    rows = found["v"].values.reshape(-1, 8)
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("fault", ["head_map", "last_key"])
def test_exact_and_placed_data_show_a_wrong_head_or_key(fault):
    for recipe in ("one_hot", "uniform"):
        _, problem = drawn(recipe, "f32", {})
        y, _ = simulate(problem, Style(fault=fault), "f32")
        verdict = judge_exact(Format.of("f32").encode(y), "f32", attention_truth(problem).out, Contract())
        assert verdict.outcome is Outcome.OVER_BUDGET
    _, problem = drawn("heads", "f32", {})
    truth = attention_truth(problem).out.hi
    y, _ = simulate(problem, Style(fault="head_map"), "f32")
    assert (np.abs(y - truth)[:, 1:3] > 0.3).all()


def test_what_recipes_need_is_said():
    bf16 = NARROW["bf16"]
    assert "2^n keys" in reason_not("uniform", bf16, SIZES | {"lk": 65})
    assert "2^n keys" in reason_not("uniform", bf16, SIZES, {"causal": True})
    assert "dimensions" in reason_not("one_hot", bf16, SIZES | {"d": 6})
    assert reason_not("one_hot", bf16, SIZES | {"d": 7}) == ""
    assert "addends" in reason_not("one_hot", bf16, SIZES, {}, ("bias",))
    assert "hold" in reason_not("one_hot", dict.fromkeys(("q", "k", "v", "out"), "e4m3fn"), SIZES | {"d": 17})
    assert "softcap" in reason_not("one_hot", bf16, SIZES, {"softcap": 3.0})
    assert "left out" in reason_not("poison", bf16, SIZES)
    assert "NaN" in reason_not("poison", dict.fromkeys(("q", "k", "v", "out"), "e2m1fn"), SIZES, {"causal": True})
    assert "narrow" in reason_not("offset", dict.fromkeys(("q", "k", "v", "out"), "e4m3fn"), SIZES)
    assert reason_not("sharp", bf16, SIZES) == ""
    with pytest.raises(KeyError):
        operands("unknown", bf16, SIZES, 0)
