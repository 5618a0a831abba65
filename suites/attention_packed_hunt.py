"""The search of packed batches: hypothesis draws sequences, options, layouts and data, and shrinks what fails."""

from dataclasses import replace
from math import prod
from typing import Any

from lastbit.case import Case, Trial
from lastbit.references.attention_data import RECIPES
from lastbit.suites.attention_cases import sizes as sizes_of
from lastbit.suites.attention_hunt import FORWARD_LAYOUTS, VOLUME, draw_heads, draw_options, within_limit
from lastbit.suites.attention_packed import values
from lastbit.suites.attention_packed_trial import has_packed, lengths, listed
from lastbit.suites.attention_trial import sizes
from lastbit.suites.attention_values import reason_computed
from lastbit.suites.hunt import draw_layout, search
from lastbit.verdict import Verdict

#: Most sequences of a batch, and longest queries and keys; some are as long as tiles and warps are.
SEQUENCES, QUERIES, KEYS = 24, 40, 70
WHOLE = (16, 64, 128)
ENDS = ("contiguous", "strided", "offset")
LAYOUTS = {
    **dict.fromkeys(("q", "k", "v"), FORWARD_LAYOUTS),
    **dict.fromkeys(("cu_seqlens_q", "cu_seqlens_k"), ENDS),
}


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn batches fails; else the verdict of the smallest failing one, with its command."""
    return search(trial, _draw, values, applies=_applies, check=lambda drawn: "packed")


def _applies(trial: Trial) -> str:
    found = lengths(trial)
    # Without any query there is no result, without any key no data.
    if not all(sum(side) for side in zip(*found, strict=True)):
        return "a batch without queries or keys"
    heads = prod(size for name, size in sizes(trial).items() if name not in ("lq", "lk"))
    if not within_limit(trial, heads * sum(lq * lk for lq, lk in found)):
        return "the kernel is asked for less"
    return has_packed(trial) or (reason_computed(trial) if trial.case.recipe == "poison" else "")


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn batch; fewer and shorter sequences and plain layouts are simpler."""
    hq, hkv, d, dv = draw_heads(trial, data, st)
    whole = st.sampled_from(WHOLE)
    sequence = st.tuples(st.integers(0, QUERIES) | whole, st.integers(0, KEYS) | whole)
    room, found = VOLUME // (d * hq), list[tuple[int, int]]()
    for lq, lk in data.draw(st.lists(sequence, min_size=1, max_size=SEQUENCES)):
        found.append((lq, min(lk, room // lq) if lq else lk))
        room -= lq * found[-1][1]
    largest = sizes_of(max(lq for lq, _ in found), max(lk for _, lk in found), d, hq=hq, hkv=hkv, dv=dv)
    options = (("pack", listed(found)), *draw_options(trial, data, st, ("causal", "window", "scale")))
    recipe = data.draw(st.sampled_from(tuple(RECIPES)))
    case = Case(recipe, largest, draw_layout(data, st, LAYOUTS), options)
    return replace(trial, case=case, seed=data.draw(st.integers(0, 2**16)))
