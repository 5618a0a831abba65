"""The paged attention check that searches: hypothesis draws sizes, pages, options, layouts and data, and shrinks."""

from dataclasses import replace
from math import prod
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.formats import Format
from lastbit.references.kv_cache_data import QUANTIZED_BITS, RECIPES
from lastbit.suites.hunt import draw_layout, search
from lastbit.suites.paged_checks import result
from lastbit.suites.paged_trial import has_data, sizes
from lastbit.verdict import Verdict

#: Largest b*hq*lq*d*len drawn for a kernel without a limit of its own.
VOLUME = 60_000
LONGEST = 70
ARRANGEMENTS = ("ordered", "shuffled", "reversed", "shared")
#: Those of the law's layout cases, plain ones first.
LAYOUTS = {
    "q": ("contiguous", "interleaved", "offset"),
    "k_cache": ("contiguous", "strided_rows", "interleaved", "offset"),
    "v_cache": ("contiguous", "strided_rows", "interleaved", "offset"),
    "block_table": ("contiguous", "strided_rows"),
    "seq_lens": ("contiguous", "strided"),
}
#: Common head sizes and pages, which some kernels are built for alone; any other is drawn as often.
HEAD_SIZES, PAGE_SIZES = (16, 64, 128), (16, 32)


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, result, applies=_applies, check=_check)


def _check(trial: Trial) -> str:
    return "exact" if RECIPES[trial.case.recipe].exact else "bound"


def _applies(trial: Trial) -> str:
    limit = limit_of(trial.kernel, trial.formats)
    if limit is not None and prod(sizes(trial).values()) > limit:
        return "the kernel is asked for less"
    return has_data(trial)


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, fewer options and plain layouts are simpler."""
    features = trial.kernel.features
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    hkv = data.draw(st.integers(1, 3))
    group = data.draw(st.sampled_from((1, 2, 3, 7))) if "gqa" in features else 1
    lq = data.draw(st.integers(1, 4)) if "causal" in features else 1
    heads = hkv * group * lq
    d = data.draw(st.integers(1, 72) | st.sampled_from(HEAD_SIZES))
    block = data.draw(st.integers(1, 20) | st.sampled_from(PAGE_SIZES))
    length = data.draw(st.integers(lq, max(lq, min(LONGEST, volume // (heads * d)))))
    b = data.draw(st.integers(1, max(1, min(8, volume // (heads * d * length)))))
    recipe = data.draw(st.sampled_from(tuple(RECIPES)))
    drawn = {"b": b, "hq": hkv * group, "hkv": hkv, "lq": lq, "d": d, "dv": d, "block": block, "len": length}
    options = (("pages", data.draw(st.sampled_from(ARRANGEMENTS))), *_options(trial, recipe, data, st))
    case = Case(recipe, tuple(drawn.items()), draw_layout(data, st, LAYOUTS), options)
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))


def _options(trial: Trial, recipe: str, data: Any, st: Any) -> tuple[tuple[str, Any], ...]:
    """Some of the options that the kernel has. A window may hide the token that a query of exact data selects."""
    features, exact = trial.kernel.features, RECIPES[recipe].exact
    found: list[tuple[str, Any]] = []
    if Format.of(trial.formats["k_cache"]).bits <= QUANTIZED_BITS:
        scales = [(), ("scale", "tensor")] if "head_scales" in features else [("scale", "tensor")]
        chosen = data.draw(st.sampled_from(scales if "scales" in features else [()]))
        found += [chosen] if chosen else []
    if data.draw(st.booleans()):
        found.append(("unused", "nan"))
    if "causal" in features and data.draw(st.booleans()):
        found.append(("causal", 1))
    if "window" in features and not exact and data.draw(st.booleans()):
        found.append(("window", f"{data.draw(st.integers(0, 9))}:0"))
    return tuple(found)
