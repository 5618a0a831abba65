"""The scaled GEMM check that searches: hypothesis draws sizes, layouts, data and seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.scaled_gemm_recipes import RECIPES
from lastbit.suites.hunt import search
from lastbit.suites.scaled_gemm_checks import result
from lastbit.suites.scaled_gemm_trial import has_data
from lastbit.verdict import Verdict

#: Largest m*n*k drawn for a kernel without a limit of its own: a sum stays long enough to matter, a call short.
VOLUME = 200_000
LARGEST = 130
LAYOUTS = ("contiguous", "transposed", "strided_rows", "offset", "reversed")


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=has_data, check=_check)


def _check(trial: Trial) -> str:
    return "exact" if RECIPES[trial.case.recipe].exact else "bound"


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    m = data.draw(st.integers(1, LARGEST))
    n = data.draw(st.integers(1, max(1, min(LARGEST, volume // m))))
    k = data.draw(st.integers(1, max(1, min(1024, volume // (m * n)))))
    recipe = data.draw(st.sampled_from(tuple(name for name in RECIPES if name != "near_overflow")))
    pairs = [(name, data.draw(st.sampled_from(LAYOUTS))) for name in ("a", "b")]
    layout = "+".join(f"{name}:{kind}" for name, kind in pairs if kind != "contiguous") or "contiguous"
    seed = data.draw(st.integers(0, 2**16))
    return replace(trial, case=Case(recipe, (("m", m), ("n", n), ("k", k)), layout), seed=seed)
