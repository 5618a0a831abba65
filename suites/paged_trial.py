"""What the paged attention checks share: sizes, operands, truth and budget of a trial, and the guarded call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained
from lastbit.paged_budget import budget as paged_budget
from lastbit.references import paged
from lastbit.references.attention import AttentionTruth
from lastbit.references.attention_mask import Problem
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_cache_data import (
    QUANTIZED_BITS,
    RECIPES,
    VANISHING,
    VANISHING_F32,
    CacheData,
    applicable,
)
from lastbit.references.kv_cache_data import paged as draw
from lastbit.references.truth import Truth
from lastbit.suites.proofs import Formats, Proof, drawn_once, judge_by, judge_exactly, kept, part_of, proved, widened
from lastbit.suites.trials import Given, check_heads, check_recipe, lacking, seed_of, window_of
from lastbit.verdict import Verdict

#: Operands and proofs kept for the next kernel that is judged on the same case.
KEPT = 32
#: Sizes whose product says how much a kernel has to do.
WORK = ("b", "hq", "lq", "d", "len")


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.kv_cache_data.paged, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    arrangement: str
    unused: str
    heads: bool
    pool: int | None


def sizes(trial: Trial) -> dict[str, int]:
    """The sizes that make up the work, as numbers."""
    return {name: int(size) for name, size in trial.case.sizes if name in WORK}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other data and other pages of the same recipe and sizes."""
    options = dict(trial.case.options)
    drawn = Drawn(
        trial.case.recipe,
        tuple(sorted((name, format) for name, format in trial.formats.items())),
        tuple((name, int(size)) for name, size in trial.case.sizes),
        seed_of(trial, shift),
        str(options["pages"]),
        str(options.get("unused", "numbers")),
        options.get("scale") != "tensor",
        int(options["pool"]) if "pool" in options else None,
    )
    return Given(_drawn(drawn).operands, call_options(trial), drawn)


def call_options(trial: Trial) -> dict[str, Any]:
    """causal and window as the kernel is called with them; those that the case does not name are left out."""
    read: dict[str, Callable[[Any], Any]] = {"causal": bool, "window": window_of}
    return {name: read[name](value) for name, value in trial.case.options if name in read}


def problems(trial: Trial, given: Given) -> tuple[Problem, ...]:
    """What each sequence computes, over the dequantized cache."""
    return paged.problems(given.operands, **given.options, masked_row=trial.contract.masked_row)


def exact_truth(trial: Trial, given: Given) -> Truth:
    """The exact result of exact data: rows of the cache."""
    gap = VANISHING if trial.formats["q"] == "f64" else VANISHING_F32
    return paged.joined([paged.selected(problem, gap=gap) for problem in problems(trial, given)])


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`."""
    return widened(_proof(given, trial.contract, tuple(trial.formats.items())), trial)


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    return got.fault or judge_by(trial, proof(trial, given), got)


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [index] of the case's."""
    return got.fault or judge_by(trial, part_of(proof(trial, given), index), got)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    return got.fault or judge_exactly(trial, exact_truth(trial, given), got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if RECIPES[trial.case.recipe].exact else judge_within)(trial, given, got)


def format_error(trial: Trial, given: Given) -> str:
    """What the cache's format costs, for the report; "" where there is nothing to say."""
    if given.drawn is None or "k_scale" not in given.operands or RECIPES[trial.case.recipe].exact:
        return ""
    data = _drawn(given.drawn)
    decibel = paged.format_error_db(problems(trial, given), data.operands, data.original_k, data.original_v)
    return f"{trial.formats['k_cache']} cache against the original: SQNR {decibel:.1f} dB"


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, sizes and options suit this kernel, else why they do not."""
    options, formats = dict(trial.case.options), trial.formats
    extent = {name: int(size) for name, size in trial.case.sizes}
    scaled = Format.of(formats["k_cache"]).bits <= QUANTIZED_BITS
    check_recipe(trial, RECIPES)
    check_heads(trial, extent)
    if not applicable(trial.case.recipe, formats, extent):
        return f"the formats have no {trial.case.recipe} data"
    if options.get("scale") == "tensor" and not scaled:
        return "the cache has no scales"
    wanted: set[str] = {"causal", "window"} & set(options)
    if extent["hq"] != extent["hkv"]:
        wanted.add("gqa")
    if scaled:
        wanted.add("scales" if options.get("scale") == "tensor" else "head_scales")
    return lacking(trial, wanted)


def sequence_of(given: Given, sequence: int) -> Given:
    """The same cache with the query, table row and length of one sequence alone."""
    row = slice(sequence, sequence + 1)
    whole = ((name, given.operands[name]) for name in ("q", "block_table", "seq_lens"))
    return given.changed(**{name: Operand(one.format, one.codes[row], one.values[row]) for name, one in whole})


@drawn_once(KEPT)
def _drawn(drawn: Drawn) -> CacheData:
    return draw(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.seed,
        arrangement=drawn.arrangement,
        unused=drawn.unused,
        heads=drawn.heads,
        pages=drawn.pool,
    )


@kept(KEPT)
def _truths(given: Given, masked_row: str) -> tuple[AttentionTruth, ...]:
    return paged.truths(paged.problems(given.operands, **given.options, masked_row=masked_row))


@kept(KEPT)
def _proof(given: Given, contract: Contract, formats: Formats) -> Proof:
    posed = paged.problems(given.operands, **given.options, masked_row=contract.masked_row)
    truths = _truths(given, contract.masked_row)
    scales = [given.operands[name].values for name in ("k_scale", "v_scale") if name in given.operands]
    rounded = any(bool((np.frexp(scale)[0] != 0.5).any()) for scale in scales)
    budget = paged_budget(contract, dict(formats), posed, truths, quantized=rounded)
    return proved(paged.joined([each.out for each in truths]), budget, dict(formats), contract)
