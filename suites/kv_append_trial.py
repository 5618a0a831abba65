"""What the KV append checks share: sizes, operands, the codes that are right, and the judgement of what came back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.errors import UsageError
from lastbit.failure_text import coded
from lastbit.harness import Obtained
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_append_data import RECIPES, appends, applicable
from lastbit.references.kv_cache import appended, contenders, quantized
from lastbit.references.kv_cache_data import QUANTIZED_BITS
from lastbit.suites.proofs import drawn_once
from lastbit.suites.trials import Given, check_recipe, lacking, noted, seed_of
from lastbit.verdict import Outcome, Verdict

Codes = NDArray[np.unsignedinteger]

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 24
CACHES = ("k_cache", "v_cache")
#: Features that an order of slots needs.
NEEDS = {"padding": "padding"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """Places of a cache that are not as they have to be."""

    cache: str
    #: (page, place in the page, head, element).
    mask: NDArray[np.bool_]
    got: Codes
    want: Codes


def sizes(trial: Trial) -> dict[str, int]:
    """The tokens' sizes as numbers; those of the pool cost a kernel nothing."""
    return {name: int(size) for name, size in trial.case.sizes if name not in ("block", "pages")}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other tokens and slots of the same recipe and sizes."""
    options = dict(trial.case.options)
    return Given(
        _operands(
            trial.case.recipe,
            tuple(trial.formats.items()),
            tuple((name, int(size)) for name, size in trial.case.sizes),
            seed_of(trial, shift),
            str(options["slots"]),
            options.get("scale") != "tensor",
        )
    )


def stored(contract: Contract, given: Mapping[str, Operand], name: str) -> Codes:
    """The codes that the contract makes of the tokens `name` ("k" or "v")."""
    scale, format = given.get(f"{name}_scale"), given[f"{name}_cache"].format
    if scale is None and format == given[name].format:
        return given[name].codes
    return quantized(
        given[name].values,
        format,
        None if scale is None else scale.values,
        arithmetic=contract.scale_arithmetic or "divide",
        overflow=contract.overflow,
    )


def caches(got: Obtained) -> dict[str, Codes]:
    """The caches that came back."""
    second: Any = got.second
    return dict(zip(CACHES, (got.codes, second), strict=True))


def expected(trial: Trial, given: Mapping[str, Operand], name: str) -> Codes:
    """The cache after the call, the last of several tokens for one slot kept."""
    slots = given["slots"].values.astype(np.int64)
    return appended(given[f"{name}_cache"].codes, stored(trial.contract, given, name), slots)


def written(given: Mapping[str, Operand], cache: str) -> NDArray[np.bool_]:
    """(pages, block, 1, 1): the places that a token is written to."""
    places = np.zeros(given[cache].codes.shape[:2], bool)
    slots = given["slots"].values.astype(np.int64)
    places.reshape(-1)[slots[slots >= 0]] = True
    return places[..., None, None]


def wrong_codes(trial: Trial, given: Mapping[str, Operand], got: Obtained) -> list[Wrong]:
    """Written places that hold other codes than those of one of their tokens, whole; a NaN may be any NaN."""
    found = []
    slots = given["slots"].values.astype(np.int64)
    several = {slot: tokens for slot, tokens in contenders(slots).items() if len(tokens) > 1}
    for cache, codes in caches(got).items():
        name, format = cache[0], given[cache].format
        want, tokens = expected(trial, given, name), stored(trial.contract, given, name)
        mask = written(given, cache) & ~same_codes(codes, want, format)
        flat, right = codes.reshape(-1, *codes.shape[2:]), want.reshape(-1, *want.shape[2:])
        for slot, rivals in several.items():
            if any(same_codes(flat[slot], tokens[token], format).all() for token in rivals):
                mask.reshape(-1, *mask.shape[2:])[slot] = False
                right[slot] = flat[slot]
        if mask.any():
            found.append(Wrong(cache, mask, codes, want))
    return found


def changed_places(given: Mapping[str, Operand], got: Obtained) -> list[Wrong]:
    """Places without a token whose bits are not what they were."""
    found = []
    for cache, codes in caches(got).items():
        before = given[cache].codes
        mask = ~written(given, cache) & (codes != before)
        if mask.any():
            found.append(Wrong(cache, mask, codes, before))
    return found


def verdict(trial: Trial, given: Mapping[str, Operand], got: Obtained, wrong: list[Wrong], what: str) -> Verdict:
    """PASS if nothing is wrong, else the first place of it and what was to be there."""
    formula = f"exact [{_rule(trial.contract, given)}]"
    if not wrong:
        return noted(trial, Verdict(Outcome.PASS, measured=0.0, allowed=0.0, formula=formula), got)
    first = wrong[0]
    where = tuple(int(i) for i in np.argwhere(first.mask)[0])
    count = sum(int(one.mask.sum()) for one in wrong)
    decode = Format.of(given[first.cache].format).decode
    pair = [f"{int(codes[where]):#x} ({float(decode(codes[where])):g})" for codes in (first.got, first.want)]
    reason = f"{what} of {first.cache} at page {where[0]}, place {where[1]}, head {where[2]}, element {where[3]}: "
    reason += f"got {pair[0]}, want {pair[1]}; {count} elements wrong, none may be"
    outcome = Outcome.WRONG_STRUCTURE if what.startswith("changed") else Outcome.OVER_BUDGET
    bits = [coded(Format.of(given[first.cache].format), codes[where]) for codes in (first.got, first.want)]
    place = f"{first.cache}{list(where)}"
    found = Verdict(outcome, reason, float(count), 0.0, place, formula, got=bits[0], want=bits[1])
    return noted(trial, found, got)


def same_codes(codes: Codes, want: Codes, format: str) -> NDArray[np.bool_]:
    """Where two codes are the same bits, or both NaN."""
    fmt = Format.of(format)
    same: NDArray[np.bool_] = codes == want
    if fmt.has_nan and not same.all():
        same |= np.isnan(fmt.decode(codes)) & np.isnan(fmt.decode(want))
    return same


def judge_codes(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on what was written."""
    if got.fault is not None:
        return got.fault
    return verdict(trial, given.operands, got, wrong_codes(trial, given.operands, got), "wrong code")


def judge_rest(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on what was not to be written."""
    if got.fault is not None:
        return got.fault
    return verdict(trial, given.operands, got, changed_places(given.operands, got), "changed code")


def judge_all(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on the whole of both caches."""
    judged = judge_codes(trial, given, got)
    return judged if judged.outcome.failed else judge_rest(trial, given, got)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, slots and scales suit this kernel, else why they do not."""
    case, formats = trial.case, trial.formats
    scaled = Format.of(formats["k_cache"]).bits <= QUANTIZED_BITS
    options, extent = dict(case.options), {name: int(size) for name, size in case.sizes}
    check_recipe(trial, RECIPES)
    if extent["tokens"] > extent["pages"] * extent["block"]:
        raise UsageError(f"case {case.id}: tokens is {extent['tokens']}, expected at most pages * block")
    if not applicable(case.recipe, formats):
        return f"a cache {'with' if scaled else 'without'} scales has no {case.recipe} data"
    if options.get("scale") == "tensor" and not scaled:
        return "the cache has no scales"
    wanted = {NEEDS[str(options["slots"])]} if options["slots"] in NEEDS else set()
    if scaled:
        wanted.add("scales" if options.get("scale") == "tensor" else "head_scales")
    return lacking(trial, wanted)


def _rule(contract: Contract, given: Mapping[str, Operand]) -> str:
    if "k_scale" not in given:
        return "copied" if given["k"].format == given["k_cache"].format else "one rounding"
    how = "x * (1 / scale)" if contract.scale_arithmetic == "reciprocal" else "x / scale"
    return f"{how} in f32, one rounding to {given['k_cache'].format}"


@drawn_once(KEPT)
def _operands(
    recipe: str,
    formats: tuple[tuple[str, str], ...],
    sizes: tuple[tuple[str, int], ...],
    seed: int,
    slots: str,
    heads: bool,
) -> Mapping[str, Operand]:
    return appends(recipe, dict(formats), dict(sizes), seed, slots=slots, heads=heads)
