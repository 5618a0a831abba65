"""What the checks of casts share: sizes, the operand, the codes that are right, and the judgement of what came back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.failure_text import coded, number, place, share
from lastbit.harness import Obtained
from lastbit.references.cast import Expected, Rule, beyond, expected, right
from lastbit.references.cast_data import applicable, operand
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites import trial_sizes
from lastbit.suites.proofs import drawn_once, kept
from lastbit.suites.trials import Given, noted, seed_of, unless_vacuous, unplaceable
from lastbit.verdict import ErrorStats, Outcome, Verdict

Codes = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Operands and answers kept for the next kernel that is judged on the same case.
KEPT = 64
#: Wrong codes that a reason lists after the first.
LISTED = 3


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.cast_data.operand, hashable; shape None: all numbers that the recipe has."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    shape: tuple[int, ...] | None
    seed: int


def rule(contract: Contract) -> Rule:
    """What the contract says of casts."""
    return Rule(
        contract.output_rounding, contract.overflow, contract.nan, contract.zero, contract.subnormals == "flush"
    )


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile and the recipe."""
    if not _takes_all(trial):
        return trial_sizes.resolved(trial)
    known = applicable(trial.case.recipe, trial.formats)
    drawn = Drawn(trial.case.recipe, _formats(trial), None, trial.seed)
    return {"n": _operand(drawn).codes.size if known else 0}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operand; another `shift` draws other data of the same recipe and sizes."""
    shape = None if _takes_all(trial) else tuple(sizes(trial).values())
    drawn = Drawn(trial.case.recipe, _formats(trial), shape, seed_of(trial, shift))
    return Given({"x": _operand(drawn)}, drawn=drawn)


def of_codes(trial: Trial, codes: Codes) -> Given:
    """The operand with these codes."""
    fmt = Format.of(trial.formats["x"])
    codes = np.ascontiguousarray(codes, fmt.code_dtype)
    return Given({"x": Operand(fmt.name, codes, fmt.decode(codes))})


def wanted(trial: Trial, given: Given) -> Expected:
    """The codes that are right for `given`."""
    return _answer(given, trial.formats["out"], rule(trial.contract))


def judge_codes(trial: Trial, given: Given, got: Obtained, answer: Expected | None = None) -> Verdict:
    """Whether every code is one that the contract allows; none may be wrong. `answer` replaces the reference's."""
    if got.fault is not None:
        return got.fault
    target = Format.of(trial.formats["out"])
    answer = wanted(trial, given) if answer is None else answer
    verdict = _too_wide(got.codes, target) or _judge(trial, given.operands["x"], got.codes, answer, target)
    return noted(trial, verdict, got)


def judge_all(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """`judge_codes`; VACUOUS where all elements ask for one and the same code."""
    return unless_vacuous(judge_codes(trial, given, got), hole(wanted(trial, given)))


def hole(answer: Expected) -> str:
    """Which wrong answer the expected codes would also accept, or ""."""
    codes = answer.code if answer.anything is None else answer.code[~answer.anything]
    if answer.code.size < 2 or (codes.size and (codes != codes.reshape(-1)[0]).any()):
        return ""
    return "every element asks for the same code" if codes.size else "nothing is promised of any element"


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe and layout suit this kernel, else why they do not."""
    if not applicable(trial.case.recipe, trial.formats):
        return f"the formats have no {trial.case.recipe} data"
    if trial.contract.output_rounding == "stochastic" and Format.of(trial.formats["out"]).kind == "table":
        return "stochastic rounding to a table is not defined"
    return unplaceable(trial)


def _judge(trial: Trial, x: Operand, codes: Codes, answer: Expected, target: Format) -> Verdict:
    ok = right(codes, answer, x.values, target)
    count = int(ok.size - np.count_nonzero(ok))
    formula = f"exact [{_formula(trial)}]"
    stats = ErrorStats(n=int(codes.size), inexact=count)
    if not count:
        return Verdict(Outcome.PASS, measured=0.0, allowed=0.0, formula=formula, stats=stats)
    wrong = np.flatnonzero(~ok)
    flat, values, want = codes.reshape(-1)[wrong], x.values.reshape(-1)[wrong], answer.code.reshape(-1)[wrong]
    other = answer.other.reshape(-1)[wrong]
    source = x.codes.reshape(-1)[wrong]
    decoded, ideal = target.decode(flat), target.decode(want)
    strange = bool((~np.isfinite(decoded) | ~np.isfinite(ideal)).any())
    lines = []
    for i in range(min(1 + LISTED, count)):
        second = "" if want[i] == other[i] else f" or {_code(other[i], target)}"
        lines.append(
            f"{place(int(wrong[i]), codes.shape)}: x = {number(values[i])} ({int(source[i]):#x}), "
            f"got {_code(flat[i], target)}, want {_code(want[i], target)}{second}"
        )
    text = f"{share(count, codes.size)} wrong, none may be: {_formula(trial)}{_kinds(values, x.format, target)}"
    return Verdict(
        Outcome.WRONG_CLASS if strange else Outcome.OVER_BUDGET,
        "\n".join([f"wrong code at {lines[0]}", text, *lines[1:]]),
        measured=float(count),
        allowed=0.0,
        where=place(int(wrong[0]), codes.shape),
        formula=formula,
        stats=stats,
        got=coded(target, flat[0]),
        want=coded(target, want[0]) + ("" if want[0] == other[0] else f" or {coded(target, other[0])}"),
    )


def _too_wide(codes: Codes, target: Format) -> Verdict | None:
    """The verdict on codes with bits that the format does not have, in arrays that hold codes as bytes."""
    spare = 13 if target.name == "tf32" else 0
    if target.bits + spare >= 8 * codes.itemsize or not codes.size or not (codes >> target.bits + spare).any():
        return None
    first = int(np.flatnonzero(codes.reshape(-1) >> target.bits)[0])
    where = place(first, codes.shape)
    reason = f"code {int(codes.reshape(-1)[first]):#x} at {where} has bits above the {target.bits} of {target.name}"
    return Verdict(Outcome.WRONG_STRUCTURE, reason, where=where)


def _kinds(values: Floats, source: str, target: Format) -> str:
    """What the numbers with wrong codes have in common, "" if nothing."""
    size = np.abs(values)
    source_fmt = Format.of(source)
    with np.errstate(invalid="ignore"):
        half = size * 2 / target.ulp(size)
        tests: list[tuple[str, Mask]] = [
            ("NaN", np.isnan(values)),
            ("infinite", np.isinf(values)),
            ("-0", (values == 0) & np.signbit(values)),
            ("0", values == 0),
            (f"beyond the range of {target.name}", np.isfinite(values) & beyond(values, target)),
            (f"subnormal in {source}", (size > 0) & (size < source_fmt.min_normal) & (source_fmt.kind == "float")),
            (f"halfway between numbers of {target.name}", (half == np.rint(half)) & (half % 2 == 1)),
            (f"subnormal in {target.name}", (size > 0) & (size < target.min_normal) & (target.kind == "float")),
            ("negative", values < 0),
        ]
    for name, mask in tests:
        if mask.all():
            return f"; all of these operands are {name}"
    return ""


def _formula(trial: Trial) -> str:
    contract = trial.contract
    parts = [f"one rounding, {contract.output_rounding}"]
    parts += [
        f"{name} {value}" for name in ("overflow", "nan", "zero") if (value := getattr(contract, name)) is not None
    ]
    parts += ["subnormals flushed or not"] if contract.subnormals == "flush" else []
    return ", ".join(parts)


def _code(code: Any, fmt: Format) -> str:
    return f"{int(code):#x} ({number(float(fmt.decode(np.array([code]))[0]))})"


def _formats(trial: Trial) -> tuple[tuple[str, str], ...]:
    return (("x", trial.formats["x"]), ("out", trial.formats["out"]))


def _takes_all(trial: Trial) -> bool:
    return any(size == "all" for _, size in trial.case.sizes)


@drawn_once(KEPT)
def _operand(drawn: Drawn) -> Operand:
    return operand(drawn.recipe, dict(drawn.formats), drawn.shape, drawn.seed)


@kept(KEPT)
def _answer(given: Given, out: str, promised: Rule) -> Expected:
    x = given.operands["x"]
    return expected(x.values, x.format, out, promised)
