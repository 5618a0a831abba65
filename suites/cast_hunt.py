"""The check of casts that searches: hypothesis draws sizes, layout, recipe and seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.suites.cast_checks import layout
from lastbit.suites.cast_trial import has_data
from lastbit.suites.hunt import search
from lastbit.verdict import Verdict

#: Most numbers drawn for a kernel without a limit of its own, and most in a row.
VOLUME = 40_000
ROW = 4100
LAYOUTS = ("contiguous", "transposed", "strided", "strided_rows", "offset", "reversed")
#: Recipes, and the check that judges the cases of each alike.
CHECKS = {"mixed": "structure", "boundaries": "boundaries", "specials": "special", "stratified": "sampled"}


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, layout, applies=has_data, check=_check)


def _check(trial: Trial) -> str:
    return CHECKS[trial.case.recipe] if trial.case.layout == "contiguous" else "layout"


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    batch = data.draw(st.sampled_from((None, 1, 2, 5)))
    m = data.draw(st.sampled_from((None, 1, 2, 3, 7, 16, 33)))
    n = data.draw(st.integers(0, max(1, min(ROW, volume // ((batch or 1) * (m or 1))))))
    sizes = [(name, size) for name, size in (("batch", batch), ("m", m), ("n", n)) if size is not None]
    kind = data.draw(st.sampled_from(LAYOUTS))
    recipe = data.draw(st.sampled_from(tuple(CHECKS)))
    case = Case(recipe, tuple(sizes), "contiguous" if kind == "contiguous" else f"x:{kind}")
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))
