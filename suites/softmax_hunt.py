"""The check of softmax that searches: hypothesis draws sizes, layout, batch, recipe, seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.softmax_data import RECIPES
from lastbit.suites.hunt import LAYOUTS, draw_batch, draw_layout, search
from lastbit.suites.softmax_trial import has_data, is_unique
from lastbit.suites.softmax_values import result
from lastbit.verdict import Verdict

#: Largest m*n drawn for a kernel without a limit of its own.
VOLUME = 40_000
ROWS, COLUMNS = 70, 2100


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=has_data, check=_check)


def _check(trial: Trial) -> str:
    return "exact" if is_unique(trial) else "special" if trial.case.recipe == "special" else "bound"


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    batch = draw_batch(trial, data, st)
    volume //= batch or 1
    m = data.draw(st.integers(0, ROWS))
    n = data.draw(st.integers(1, max(1, min(COLUMNS, volume // max(m, 1)))))
    recipe = data.draw(st.sampled_from(tuple(RECIPES)))
    more = (*(("broadcast",) if batch else ()), *(("reversed",) if trial.kernel.framework == "numpy" else ()))
    layout = draw_layout(data, st, {"x": LAYOUTS + more})
    sizes = (*((("batch", batch),) if batch else ()), ("m", m), ("n", n))
    return replace(trial, case=Case(recipe, sizes, layout), seed=data.draw(st.integers(0, 2**16)))
