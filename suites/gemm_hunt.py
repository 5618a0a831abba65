"""The GEMM check that searches: hypothesis draws sizes, layouts, epilogue, data and seed, and shrinks what fails."""

from dataclasses import replace
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.data import RECIPES
from lastbit.suites.gemm_trial import has_data
from lastbit.suites.gemm_values import result
from lastbit.suites.hunt import LAYOUTS, draw_batch, draw_layout, search
from lastbit.verdict import Verdict

#: Largest m*n*k drawn for a kernel without a limit of its own: a sum stays long enough to matter, a call short.
VOLUME = 200_000
LARGEST = 130
OUT_LAYOUTS = ("contiguous", "transposed", "strided_rows")
#: Values of each scalar, simpler ones first; 0 for beta makes c unreadable.
SCALARS = {"alpha": (1.0, 0.5, -1.25), "beta": (1.0, 0.0, 2.0, 0.3)}


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=has_data, check=_check)


def _check(trial: Trial) -> str:
    if not RECIPES[trial.case.recipe].exact:
        return "bound"
    if trial.case.layout != "contiguous":
        return "layout"
    return "exact" if all(size for _, size in trial.case.sizes) else "empty"


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    features = trial.kernel.features
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    batch = draw_batch(trial, data, st)
    volume //= batch or 1
    m = data.draw(st.integers(0, LARGEST))
    n = data.draw(st.integers(0, max(1, min(LARGEST, volume // max(m, 1)))))
    k = data.draw(st.integers(0, max(0, min(1024, volume // max(m * n, 1)))))
    recipe = data.draw(st.sampled_from(tuple(name for name in RECIPES if name != "near_overflow")))
    more = (*(("broadcast",) if batch else ()), *(("reversed",) if trial.kernel.framework == "numpy" else ()))
    kinds = {"a": LAYOUTS + more, "b": LAYOUTS + more} | ({"out": OUT_LAYOUTS} if "out" in features else {})
    sizes = (*((("batch", batch),) if batch else ()), ("m", m), ("n", n), ("k", k))
    layout = draw_layout(data, st, kinds)
    options = () if RECIPES[recipe].exact else _epilogue(features, data, st)
    return replace(trial, case=Case(recipe, sizes, layout, options), seed=data.draw(st.integers(0, 2**16)))


def _epilogue(features: frozenset[str], data: Any, st: Any) -> tuple[tuple[str, float], ...]:
    """Some of the parts that the kernel has; on exact data they might round."""
    needs = {"alpha": {"alpha"}, "beta": {"beta", "c"}, "bias": {"bias"}}
    offered = [name for name, wanted in needs.items() if wanted <= features and data.draw(st.booleans())]
    return tuple((name, data.draw(st.sampled_from(SCALARS[name])) if name in SCALARS else 1) for name in offered)
