"""What the paged attention checks share: sizes, operands, truth and budget of a trial, and the guarded call."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained, call
from lastbit.judge import judge, judge_exact
from lastbit.paged_budget import budget as paged_budget
from lastbit.references import paged
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
from lastbit.suites.trials import layouts, noted, unless_vacuous
from lastbit.vacuity import vacuity
from lastbit.verdict import Verdict

#: Operands and proofs kept for the next kernel that is judged on the same case.
KEPT = 32
#: Sizes whose product says how much a kernel has to do.
WORK = ("b", "hq", "lq", "d", "len")


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, and the arguments that drew them, under which proofs are kept for the next kernel."""

    operands: Mapping[str, Operand]
    drawn: "Drawn | None" = None


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


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: truth, budget, and the counterfeit that the budget would accept, if any."""

    truth: Truth
    budget: Budget
    hole: str


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
        trial.seed + 7919 * shift,
        str(options["pages"]),
        str(options.get("unused", "numbers")),
        options.get("scale") != "tensor",
        int(options["pool"]) if "pool" in options else None,
    )
    return Given(_drawn(drawn).operands, drawn)


def call_options(trial: Trial) -> dict[str, Any]:
    """causal and window as the kernel is called with them; those that the case does not name are left out."""
    chosen = dict(trial.case.options)
    found: dict[str, Any] = {}
    if "causal" in chosen:
        found["causal"] = bool(chosen["causal"])
    if "window" in chosen:
        left, _, right = str(chosen["window"]).partition(":")
        found["window"] = (int(left), int(right))
    return found


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout and with its options, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial), scalars=call_options(trial))


def problems(trial: Trial, given: Given) -> tuple[Problem, ...]:
    """What each sequence computes, over the dequantized cache."""
    return paged.problems(given.operands, **call_options(trial), masked_row=trial.contract.masked_row)


def exact_truth(trial: Trial, given: Given) -> Truth:
    """The exact result of exact data: rows of the cache."""
    gap = VANISHING if trial.formats["q"] == "f64" else VANISHING_F32
    return paged.joined([paged.selected(problem, gap=gap) for problem in problems(trial, given)])


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`."""
    key = (trial.contract, tuple(trial.formats.items()), tuple(call_options(trial).items()))
    proved = _prove(given.operands, *key) if given.drawn is None else _kept_proof(given.drawn, *key)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that the derived bound holds; VACUOUS where the bound would also accept a wrong one."""
    if got.fault is not None:
        return got.fault
    proved = proof(trial, given)
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth, proved.budget, trial.contract)
    return unless_vacuous(noted(trial, verdict, got), proved.hole)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that needs no rounding before the output, so that one answer is right."""
    if got.fault is not None:
        return got.fault
    truth = exact_truth(trial, given)
    return noted(trial, judge_exact(got.codes, Format.of(trial.formats["out"]), truth, trial.contract), got)


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if RECIPES[trial.case.recipe].exact else judge_within)(trial, given, got)


def judge_sequence(trial: Trial, given: Given, sequence: int, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only this sequence."""
    if got.fault is not None:
        return got.fault
    whole = proof(trial, given)
    row = slice(sequence, sequence + 1)

    def part(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(array, whole.truth.hi.shape)[row]

    exact, budget = whole.truth, whole.budget
    truth = Truth(part(exact.hi), part(exact.lo), part(exact.radius), part(exact.weight), exact.rung)
    slack = None if budget.overflow_slack is None else part(budget.overflow_slack)
    before = None if budget.before is None else part(budget.before)
    budget = replace(budget, allowed=part(budget.allowed), overflow_slack=slack, before=before)
    return noted(trial, judge(got.codes, Format.of(trial.formats["out"]), truth, budget, trial.contract), got)


def format_error(trial: Trial, given: Given) -> str:
    """What the cache's format costs, for the report; "" where there is nothing to say."""
    if given.drawn is None or "k_scale" not in given.operands or RECIPES[trial.case.recipe].exact:
        return ""
    data = _drawn(given.drawn)
    decibel = paged.format_error_db(problems(trial, given), data.operands, data.original_k, data.original_v)
    return f"{trial.formats['k_cache']} cache against the original: SQNR {decibel:.1f} dB"


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, sizes and options suit this kernel, else why they do not."""
    options, formats, features = dict(trial.case.options), trial.formats, trial.kernel.features
    extent = {name: int(size) for name, size in trial.case.sizes}
    scaled = Format.of(formats["k_cache"]).bits <= QUANTIZED_BITS
    if not applicable(trial.case.recipe, formats, extent):
        return f"the formats have no {trial.case.recipe} data"
    if options.get("scale") == "tensor" and not scaled:
        return "the cache has no scales"
    wanted: set[str] = {"causal", "window"} & set(options)
    if extent["hq"] != extent["hkv"]:
        wanted.add("gqa")
    if scaled:
        wanted.add("scales" if options.get("scale") == "tensor" else "head_scales")
    missing = sorted(wanted - features)
    return f"the kernel has no {', '.join(missing)}" if missing else ""


def sequence_of(given: Given, sequence: int) -> Given:
    """The same cache with the query, table row and length of one sequence alone."""
    alone = {
        name: Operand(operand.format, operand.codes[sequence : sequence + 1], operand.values[sequence : sequence + 1])
        for name, operand in given.operands.items()
        if name in ("q", "block_table", "seq_lens")
    }
    return Given({**given.operands, **alone})


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]
    formula = f"{factor:g} * ({proved.budget.formula}), since {why}"
    budget = replace(proved.budget, allowed=factor * proved.budget.allowed, formula=formula)
    hole = vacuity(Format.of(trial.formats["out"]), proved.truth, budget, trial.contract)
    return Proof(proved.truth, budget, hole)


def _prove(
    operands: Mapping[str, Operand],
    contract: Contract,
    formats: tuple[tuple[str, str], ...],
    options: tuple[tuple[str, Any], ...],
) -> Proof:
    posed = paged.problems(operands, **dict(options), masked_row=contract.masked_row)
    truths = paged.truths(posed)
    scales = [operands[name].values for name in ("k_scale", "v_scale") if name in operands]
    rounded = any(bool((np.frexp(scale)[0] != 0.5).any()) for scale in scales)
    budget = paged_budget(contract, dict(formats), posed, truths, quantized=rounded)
    truth = paged.joined([each.out for each in truths])
    return Proof(truth, budget, vacuity(Format.of(dict(formats)["out"]), truth, budget, contract))


@lru_cache(maxsize=KEPT)
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


@lru_cache(maxsize=KEPT)
def _kept_proof(
    drawn: Drawn,
    contract: Contract,
    formats: tuple[tuple[str, str], ...],
    options: tuple[tuple[str, Any], ...],
) -> Proof:
    return _prove(_drawn(drawn).operands, contract, formats, options)
