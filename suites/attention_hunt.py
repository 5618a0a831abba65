"""The attention check that searches: hypothesis draws sizes, options, layouts and data, and shrinks what fails."""

from collections.abc import Collection
from dataclasses import replace
from math import prod
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.attention_data import RECIPES
from lastbit.suites.attention_cases import sizes as sizes_of
from lastbit.suites.attention_proof import UNIQUE
from lastbit.suites.attention_trial import CALLED, EXTRAS, has_data, sizes
from lastbit.suites.attention_values import reason_computed, result
from lastbit.suites.hunt import LAYOUTS, draw_layout, search
from lastbit.verdict import Verdict

#: Longest queries and keys drawn, and largest product lq * lk * d * hq.
LONGEST = 140
VOLUME = 300_000
FORWARD_LAYOUTS = (*LAYOUTS, "interleaved")


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=_applies, check=_check)


def _check(trial: Trial) -> str:
    return "exact" if trial.case.recipe in UNIQUE else "bound"


def _applies(trial: Trial) -> str:
    if not _small(trial):
        return "the kernel is asked for less"
    return reason_computed(trial) if trial.case.recipe == "poison" else has_data(trial)


def _small(trial: Trial) -> bool:
    return within_limit(trial, prod(sizes(trial).values()))


def within_limit(trial: Trial, volume: int) -> bool:
    """Whether the kernel is asked for a product of sizes as large as this."""
    limit = limit_of(trial.kernel, trial.formats)
    return limit is None or volume <= limit


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, fewer options and plain layouts are simpler."""
    hq, hkv, d, dv = draw_heads(trial, data, st)
    lq = data.draw(st.integers(1, LONGEST))
    lk = data.draw(st.integers(1, max(1, min(LONGEST, VOLUME // (lq * d * hq)))))
    batch = data.draw(st.integers(1, 3))
    recipe = data.draw(st.sampled_from(tuple(RECIPES)))
    layout = draw_layout(data, st, dict.fromkeys(("q", "k", "v"), FORWARD_LAYOUTS))
    found = sizes_of(lq, lk, d, hq=hq, hkv=hkv, dv=dv, batch=batch)
    seed = data.draw(st.integers(0, 2**16))
    case = Case(recipe, found, layout, draw_options(trial, data, st))
    return replace(trial, case=case, seed=seed)


def draw_heads(trial: Trial, data: Any, st: Any) -> tuple[int, int, int, int]:
    """Query heads, key heads, and the dimensions of q and of v, as the kernel's features allow."""
    features = trial.kernel.features
    hkv = data.draw(st.sampled_from((1, 2, 3)))
    group = data.draw(st.sampled_from((1, 2, 3, 7))) if "gqa" in features else 1
    d = data.draw(st.integers(1, 96))
    dv = data.draw(st.integers(1, 96)) if "dv" in features else d
    return hkv * group, hkv, d, dv


def draw_options(
    trial: Trial, data: Any, st: Any, names: Collection[str] = (*EXTRAS, *CALLED)
) -> tuple[tuple[str, Any], ...]:
    """Some of the options that the kernel has, of those named."""
    features = trial.kernel.features
    masks = [word for word, feature in EXTRAS["mask"].items() if feature in features]
    offered = {
        "causal": st.just(1),
        "window": st.tuples(st.integers(-1, 5), st.integers(-1, 5)).map(lambda sides: f"{sides[0]}:{sides[1]}"),
        "scale": st.sampled_from((0.25, 0.3, 1.0)),
        "softcap": st.sampled_from((5.0, 30.0)),
        "mask": st.sampled_from(masks or ["keep"]),
        "bias": st.just("heads"),
        "sinks": st.just("heads"),
    }
    held = features | ({"mask"} if masks else set())
    return tuple(
        (name, data.draw(values))
        for name, values in offered.items()
        if name in names and name in held and data.draw(st.booleans())
    )
