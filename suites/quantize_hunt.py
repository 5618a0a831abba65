"""The check of quantizers that searches: hypothesis draws sizes, layout, recipe and seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.quantize_recipes import RECIPES
from lastbit.suites.hunt import search
from lastbit.suites.quantize_checks import result, special
from lastbit.suites.quantize_trial import has_data, whole
from lastbit.verdict import Verdict

#: Largest m*n drawn for a kernel without a limit of its own.
VOLUME = 40_000
ROWS, GROUPS = 40, 9
LAYOUTS = ("contiguous", "transposed", "strided", "strided_rows", "offset", "reversed")
SPECIAL = ("special", "not_a_number")
#: The check that judges a recipe's cases alike; others are those of "exact".
CHECKS = {
    "placed": "placed",
    "amaxes": "amax",
    "boundaries": "scale_rule",
    "halves": "ties",
    "near_halves": "ties",
    "disputed": "ties",
}


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, _judge, applies=has_data, check=_check)


def _judge(trial: Trial) -> Verdict:
    return (special if trial.case.recipe in SPECIAL else result)(trial)


def _check(trial: Trial) -> str:
    return "special" if trial.case.recipe in SPECIAL else CHECKS.get(trial.case.recipe, "exact")


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    case = drawn_case(trial, data, st, tuple(RECIPES), "x")
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))


def drawn_case(trial: Trial, data: Any, st: Any, recipes: tuple[str, ...], operand: str) -> Case:
    """Sizes in whole groups, but for kernels with "tails"; one of the recipes; a layout of the operand."""
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    batch = data.draw(st.sampled_from((None, 1, 2, 3))) if "batch" in trial.kernel.features else None
    volume //= batch or 1
    rows, columns = whole(trial, "m"), whole(trial, "n")
    if "tails" in trial.kernel.features:
        n = data.draw(st.integers(1, min(GROUPS * max(columns, 8), volume)))
        m = data.draw(st.integers(1, max(1, min(ROWS, volume // n))))
    else:
        n = columns * data.draw(st.integers(1, max(1, min(GROUPS, volume // (columns * rows)))))
        m = rows * data.draw(st.integers(1, max(1, min(ROWS, volume // (n * rows)))))
    recipe = data.draw(st.sampled_from(recipes))
    kind = data.draw(st.sampled_from(LAYOUTS))
    layout = "contiguous" if kind == "contiguous" else f"{operand}:{kind}"
    return Case(recipe, (*((("batch", batch),) if batch else ()), ("m", m), ("n", n)), layout)
