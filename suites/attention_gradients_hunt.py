"""The search of attention's gradients: hypothesis draws sizes, options, layouts and data, and shrinks what fails."""

from dataclasses import replace
from math import prod
from typing import Any

from lastbit.case import Case, Trial
from lastbit.references.attention_data import RECIPES
from lastbit.suites.attention_cases import sizes as sizes_of
from lastbit.suites.attention_gradients_checks import values
from lastbit.suites.attention_gradients_trial import has_gradients, has_ignored_keys
from lastbit.suites.attention_hunt import FORWARD_LAYOUTS, VOLUME, draw_heads, draw_options, within_limit
from lastbit.suites.attention_trial import sizes
from lastbit.suites.hunt import draw_layout, search
from lastbit.verdict import Verdict

#: Longest queries and keys; few keys, for dQ is a difference of large sums where there are many. Some divide tiles.
QUERIES, KEYS = 70, 40
WHOLE = (16, 64, 128)
LAYOUTS = dict.fromkeys(("q", "k", "v", "grad_out"), FORWARD_LAYOUTS)


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, values, applies=_applies, check=lambda drawn: "gradients")


def _applies(trial: Trial) -> str:
    if not within_limit(trial, prod(sizes(trial).values())):
        return "the kernel is asked for less"
    return has_ignored_keys(trial) if trial.case.recipe == "poison" else has_gradients(trial)


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, fewer options and plain layouts are simpler."""
    hq, hkv, d, dv = draw_heads(trial, data, st)
    whole = st.sampled_from(WHOLE)
    lq = data.draw(st.integers(1, QUERIES) | whole)
    lk = max(1, min(data.draw(st.integers(1, KEYS) | whole), VOLUME // (lq * d * hq)))
    batch = data.draw(st.integers(1, 3))
    recipe = data.draw(st.sampled_from(tuple(RECIPES)))
    options = draw_options(trial, data, st)
    found = sizes_of(lq, lk, d, hq=hq, hkv=hkv, dv=dv, batch=batch)
    case = Case(recipe, found, draw_layout(data, st, LAYOUTS), options)
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))
