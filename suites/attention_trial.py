"""What the attention checks share: sizes, operands, truth and budgets of a trial, the guarded call and its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.attention_budget import budget as attention_budget
from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.harness import Obtained, call
from lastbit.judge import judge, judge_exact
from lastbit.references.attention import AttentionTruth, attention_truth
from lastbit.references.attention_data import operands, problem_of, reason_not
from lastbit.references.attention_mask import Problem
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.results import lse_format
from lastbit.vacuity import vacuity
from lastbit.verdict import Outcome, Verdict

#: Truths and operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Recipes of which one answer is right whatever the kernel does. Of equal weights the sums are exact, but keys that are
#: split and combined by their log-sum-exps are weighted by roundings of 2^-n.
UNIQUE = frozenset({"one_hot"})
#: Options of a case that are operands of the call, and the feature that a kernel needs for each of their values.
EXTRAS = {"mask": {"keep": "mask", "add": "additive_mask"}, "bias": {"heads": "bias"}, "sinks": {"heads": "sinks"}}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, its options, and what drew them, under which proofs are kept for the next kernel."""

    operands: Mapping[str, Operand]
    #: scale, causal, window, softcap: as the kernel is called with.
    options: Mapping[str, Any]
    drawn: "Drawn | None" = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.attention_data.operands, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    extras: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: truths, budgets, and the counterfeits that the budgets would accept, if any."""

    problem: Problem
    truth: AttentionTruth
    out: Budget
    lse: Budget
    hole: str


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile."""
    return {name: _size(trial, name, size) for name, size in trial.case.sizes}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands and options; another `shift` draws other data of the same recipe and sizes."""
    drawn = drawing(trial, shift=shift)
    return Given(_operands(drawn), call_options(trial), drawn)


def drawing(trial: Trial, *, shift: int = 0) -> Drawn:
    """What the trial's operands are drawn by."""
    return Drawn(
        trial.case.recipe,
        tuple(drawn_formats(trial).items()),
        tuple(sizes(trial).items()),
        trial.seed + 7919 * shift,
        tuple(name for name, _ in trial.case.options if name in EXTRAS),
        (*call_options(trial).items(), ("causal_alignment", trial.contract.causal_alignment)),
    )


def call_options(trial: Trial) -> dict[str, Any]:
    """The case's options as the kernel is called with them: a window is a pair of numbers, causal a bool."""
    chosen = dict(trial.case.options)
    found: dict[str, Any] = {}
    if "scale" in chosen:
        found["scale"] = float(chosen["scale"])
    if "causal" in chosen:
        found["causal"] = bool(chosen["causal"])
    if "window" in chosen:
        left, _, right = str(chosen["window"]).partition(":")
        found["window"] = (int(left), int(right))
    if "softcap" in chosen:
        found["softcap"] = float(chosen["softcap"])
    return found


def drawn_formats(trial: Trial) -> dict[str, str]:
    """The formats of the operands, of a mask too if it is added."""
    added = dict(trial.case.options).get("mask") == "add"
    wide = {"q", "k", "v", "out"}
    base = {name: fmt for name, fmt in trial.formats.items() if name in wide}
    return base | ({"mask": trial.formats["q"]} if added else {}) | {"sinks": _sink_format(trial)}


def layouts(trial: Trial) -> dict[str, str]:
    """Memory layout of each operand, by name; those not named are contiguous."""
    if trial.case.layout == "contiguous":
        return {}
    pairs = (part.partition(":") for part in trial.case.layout.split("+"))
    return {name: layout for name, _, layout in pairs}


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout and with its options, fully guarded."""
    return call(trial, as_called(given.operands), layouts=layouts(trial), scalars=given.options)


def as_called(given: Mapping[str, Operand]) -> dict[str, Operand]:
    """The operands with a mask of integers as the booleans that kernels take."""
    called = dict(given)
    mask = called.get("mask")
    if mask is not None and mask.format == "u8":
        called["mask"] = Operand("bool", (mask.codes != 0).astype(np.uint8), mask.values)
    return called


def problem(trial: Trial, given: Given) -> Problem:
    """The problem that the call poses under the contract's alignment and masked rows."""
    return problem_of(given.operands, given.options, trial.contract)


def posed_by(drawn: Drawn, options: tuple[tuple[str, Any], ...], contract: Contract) -> Problem:
    """`problem` of drawn operands."""
    return problem_of(_operands(drawn), dict(options), contract)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budgets and vacuity of the case on `given`."""
    formats = tuple(trial.formats.items())
    if given.drawn is None:
        proved = prove(trial.contract, formats, problem(trial, given))
    else:
        options = tuple(given.options.items())
        proved = _kept_proof(trial.contract, formats, given.drawn, options)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def prove(contract: Contract, formats: tuple[tuple[str, str], ...], posed: Problem) -> Proof:
    """Truth, budgets and vacuity of a problem."""
    truth = attention_truth(posed)
    out, lse = attention_budget(contract, dict(formats), posed, truth)
    return Proof(posed, truth, out, lse, vacuity(Format.of(dict(formats)["out"]), truth.out, out, contract))


def judge_within(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on result and log-sum-exp by the derived bounds; VACUOUS where they would accept a wrong result."""
    if got.fault is not None:
        return got.fault
    return judge_against(trial, proof(trial, given), got)


def judge_against(trial: Trial, proved: Proof, got: Obtained) -> Verdict:
    """`judge_within` by a proof at hand."""
    if got.fault is not None:
        return got.fault
    verdict = judge(got.codes, Format.of(trial.formats["out"]), proved.truth.out, proved.out, trial.contract)
    verdict = noted(trial, verdict, got)
    if verdict.outcome is not Outcome.PASS or got.lse is None:
        return unless_vacuous(verdict, proved.hole)
    lse = judge(got.lse, lse_format(trial.formats), proved.truth.lse, proved.lse, lse_contract(trial.contract))
    if lse.outcome is not Outcome.PASS:
        return noted(trial, replace(lse, reason=f"log-sum-exp: {lse.reason}"), got)
    used = f"{lse.measured:.3g} of its budget" if lse.measured is not None else "within its budget"
    return unless_vacuous(replace(verdict, notes={**verdict.notes, "log-sum-exp": used}), proved.hole)


def judge_rows(trial: Trial, given: Given, rows: Any, got: Obtained) -> Verdict:
    """`judge_within` of a result that holds only the elements [rows] of the case's, rows indexing (b, hq, lq)."""
    if got.fault is not None:
        return got.fault
    return judge_against(trial, taken(proof(trial, given), rows), got)


def taken(proved: Proof, rows: Any) -> Proof:
    """The part of a proof that holds for the elements [rows] of (b, hq, lq)."""

    def part(array: Floats, like: Floats) -> Floats:
        cut: Floats = np.broadcast_to(array, like.shape)[rows]
        return cut

    def some(array: Floats | None, like: Floats) -> Floats | None:
        return None if array is None else part(array, like)

    def truth(of: Truth) -> Truth:
        return Truth(of.hi[rows], part(of.lo, of.hi), part(of.radius, of.hi), part(of.weight, of.hi), of.rung)

    def budget(of: Budget, like: Floats) -> Budget:
        sigma, before, slack = some(of.sigma, like), some(of.before, like), some(of.overflow_slack, like)
        return replace(of, allowed=part(of.allowed, like), sigma=sigma, before=before, overflow_slack=slack)

    both = AttentionTruth(truth(proved.truth.out), truth(proved.truth.lse))
    out, lse = budget(proved.out, proved.truth.out.hi), budget(proved.lse, proved.truth.lse.hi)
    return replace(proved, truth=both, out=out, lse=lse)


def judge_unique(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on a result that one answer alone is right for; the log-sum-exp is held by its bound."""
    if got.fault is not None:
        return got.fault
    found = proof(trial, given).truth.out
    # The recipe's weights are 0 and 1 in FP64, so that its answer is a value of V.
    zero = np.zeros(found.hi.shape)
    exact = Truth(found.hi, zero, zero, found.weight, "closed form")
    verdict = noted(trial, judge_exact(got.codes, Format.of(trial.formats["out"]), exact, trial.contract), got)
    if verdict.outcome is not Outcome.PASS or got.lse is None:
        return verdict
    within = judge_within(trial, given, got)
    return within if within.outcome.failed else verdict


def judge_result(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_unique` for a recipe whose answer is unique, else `judge_within`."""
    return (judge_unique if trial.case.recipe in UNIQUE else judge_within)(trial, given, got)


def lse_contract(contract: Contract) -> Contract:
    """The contract of the log-sum-exp, which is rounded to nearest."""
    return replace(contract, output_rounding="nearest-even", overflow=None)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    case = trial.case
    missing = sorted(wanted(trial) - trial.kernel.features)
    if missing:
        return f"the kernel has no {', '.join(missing)}"
    options = {**call_options(trial), "causal_alignment": trial.contract.causal_alignment}
    reason = reason_not(case.recipe, drawn_formats(trial), sizes(trial), options)
    if reason:
        return reason
    if "reversed" in case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    return ""


def wanted(trial: Trial) -> set[str]:
    """The features that the case needs of a kernel."""
    options, counts = dict(trial.case.options), sizes(trial)
    features = {EXTRAS.get(name, {}).get(str(value), name) for name, value in options.items()}
    if "causal" in options and not options["causal"]:
        features.discard("causal")
    if ("mask" in options or "bias" in options) and ("causal" in options or "window" in options):
        features.add("causal_mask")
    if "mask" in options and "bias" in options:
        features.add("mask_bias")
    if counts.get("hkv", 1) != counts.get("hq", 1):
        features.add("gqa")
    if counts.get("dv", counts["d"]) != counts["d"]:
        features.add("dv")
    return features


def noted(trial: Trial, verdict: Verdict, got: Obtained) -> Verdict:
    """`verdict` with what the harness noted about the call, and with the result's digest if it is to be repeatable."""
    digest = sha256(got.codes.tobytes()).hexdigest()[:16] if trial.contract.deterministic else ""
    return replace(verdict, notes={**got.notes, **verdict.notes}, digest=digest)


def unless_vacuous(verdict: Verdict, hole: str) -> Verdict:
    """`verdict`, or VACUOUS in place of PASS where the budget has a hole."""
    if verdict.outcome is Outcome.PASS and hole:
        return replace(verdict, outcome=Outcome.VACUOUS, reason=hole)
    return verdict


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]

    def wide(budget: Budget) -> Budget:
        formula = f"{factor:g} * ({budget.formula}), since {why}"
        return replace(budget, allowed=factor * budget.allowed, formula=formula)

    out, lse = wide(proved.out), wide(proved.lse)
    hole = vacuity(Format.of(trial.formats["out"]), proved.truth.out, out, trial.contract)
    return replace(proved, out=out, lse=lse, hole=hole)


@lru_cache(maxsize=KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    return operands(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.seed,
        extras=drawn.extras,
        options=dict(drawn.options),
    )


@lru_cache(maxsize=KEPT)
def _kept_truth(drawn: Drawn, options: tuple[tuple[str, Any], ...], alignment: str, masked_row: str) -> AttentionTruth:
    policies = Contract(causal_alignment=alignment, masked_row=masked_row)
    return attention_truth(posed_by(drawn, options, policies))


@lru_cache(maxsize=KEPT)
def _kept_proof(
    contract: Contract, formats: tuple[tuple[str, str], ...], drawn: Drawn, options: tuple[tuple[str, Any], ...]
) -> Proof:
    posed = posed_by(drawn, options, contract)
    truth = _kept_truth(drawn, options, contract.causal_alignment, contract.masked_row)
    out, lse = attention_budget(contract, dict(formats), posed, truth)
    return Proof(posed, truth, out, lse, vacuity(Format.of(dict(formats)["out"]), truth.out, out, contract))


def _sink_format(trial: Trial) -> str:
    return "f64" if trial.formats["out"] == "f64" else "f32"


def _size(trial: Trial, name: str, size: int | str) -> int:
    if isinstance(size, int):
        return size
    tile = trial.kernel.tile.get(name, 32)
    return {"tile": tile, "overtile": tile + 1, "undertile": tile - 1}[size]
