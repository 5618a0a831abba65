"""The check of dequantizers that searches: hypothesis draws sizes, layout, recipe and seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Trial
from lastbit.references.dequantize_data import GLOBALS, RECIPES
from lastbit.suites.dequantize_checks import result
from lastbit.suites.dequantize_trial import has_data
from lastbit.suites.hunt import search
from lastbit.suites.quantize_hunt import drawn_case
from lastbit.verdict import Verdict

#: The check that judges a recipe's cases alike.
CHECKS = {
    "every_code": "codes",
    "random_codes": "exact",
    "every_scale": "scales",
    "placed": "placed",
    "zero_points": "zero_points",
    "beside_ties": "rounding",
    "special": "special",
    **dict.fromkeys(GLOBALS, "global_scale"),
}


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=has_data, check=lambda drawn: CHECKS[drawn.case.recipe])


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    case = drawn_case(trial, data, st, tuple(RECIPES), "codes")
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))
