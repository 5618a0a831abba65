"""What every law shares: results compared with one another, proofs kept, cut and applied."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.budget import Budget
from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.harness import Obtained
from lastbit.kernel import Kernel
from lastbit.references.data import Operand
from lastbit.references.truth import Truth
from lastbit.suites import comparison
from lastbit.suites.proofs import Proof, judge_by, judge_exactly, kept, part_of, roomy, widened
from lastbit.suites.trials import Given, obtain
from lastbit.verdict import Outcome, Verdict

FORMATS = {"x": "f64", "out": "f64"}
X = np.arange(12.0).reshape(4, 3)


def trial(run: Callable[..., Any], op: str = "softmax", **promises: Any) -> Trial:
    kernel = Kernel("mine/one", op, run, FORMATS, framework="numpy", devices=("cpu",))
    contract = resolved(replace(Contract(), **promises), FORMATS)
    return Trial(kernel, FORMATS, contract, "cpu", Case("normal", (("m", 4), ("n", 3))))


def copied(x: Any) -> Any:
    return x.copy()


def given(x: Any = X) -> Given:
    return Given({"x": Operand.of(x, "f64")})


def judge(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The result is the operand itself."""
    return judge_part(trial, given, ..., got)


def judge_part(trial: Trial, given: Given, index: Any, got: Obtained) -> Verdict:
    return judge_by(trial, part_of(proof(given.operands["x"].values), index), got)


def proof(x: Any, allowed: float = 0.5) -> Proof:
    zero = np.zeros(x.shape)
    return Proof(Truth(x, zero, zero, np.abs(x), "given"), Budget(np.full((1, 1), allowed), "a half", "here"), "")


def drifting() -> Callable[..., Any]:
    """Adds 0, 0.25, 0.5, ... from call to call."""
    steps: Iterator[int] = count()
    return lambda x: x + next(steps) / 4


def test_repeated_call_with_other_bits_breaks_the_law_only_where_it_is_promised() -> None:
    promised = comparison.repeat(trial(drifting()), given(), obtain, judge)
    assert promised.outcome is Outcome.LAW_BROKEN
    assert "repeatability: bits change for call 2, call 3: 12 of 12 elements, first at (0, 0)" in promised.reason
    noted = comparison.repeat(trial(drifting(), deterministic=False), given(), obtain, judge)
    assert noted.outcome is Outcome.PASS
    assert noted.notes["repeatability"] == "not promised; bits change for call 2, call 3"
    steady = comparison.repeat(trial(copied), given(), obtain, judge)
    assert steady.outcome is Outcome.PASS
    assert steady.notes["repeatability"] == "same bits for call 2, call 3"


def test_power_of_two_scales_what_is_above_the_smallest_normal_number() -> None:
    """Below 2^-6 numbers of e4m3fn are 2^-9 apart: 0.97 * 2^-6 becomes 2^-6, and 2^3 times it 0.9375 * 2^-3."""
    formats = {"x": "f64", "out": "e4m3fn"}

    def scaling(run: Callable[..., Any]) -> Verdict:
        one = trial(run)
        one = replace(one, kernel=replace(one.kernel, formats=formats), formats=formats)
        x = Given({"x": Operand.of(np.array([[0.97, 1.25, 2.0], [0.97, 3.0, 5.5]]) * 2.0**-6, "f64")})
        return comparison.scaling(one, x, "x", 3, obtain, judge)

    def cast(x: Any) -> Any:
        return x.astype(ml_dtypes.float8_e4m3fn)

    assert scaling(cast).outcome is Outcome.PASS
    broken = scaling(lambda x: cast(x + 2.0**-4 * (x > 0.1)))
    assert broken.outcome is Outcome.LAW_BROKEN
    assert "x * 2^3 does not scale the result" in broken.reason


def test_repeated_call_that_is_wrong_fails_although_no_bits_are_promised() -> None:
    steps: Iterator[int] = count()
    late = trial(lambda x: x + (9 if next(steps) else 0), deterministic=False)
    verdict = comparison.repeat(late, given(), obtain, judge)
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert verdict.reason.startswith("call 2: ")


def slices(run: Callable[..., Any], **promises: Any) -> Verdict:
    whole = given()
    parts = [comparison.Part(f"first {m} rows alone", given(X[:m]), slice(m)) for m in (1, 2, 3)]
    one = trial(run, **promises)
    promised = one.contract.batch_invariant
    return comparison.compare(one, whole, parts, obtain, judge, judge_part, law="batch invariance", promised=promised)


def test_part_with_other_bits_or_a_wrong_result_is_told() -> None:
    assert slices(copied, batch_invariant=True).outcome is Outcome.PASS

    def uneven(x: Any) -> Any:
        return x + (0.25 if len(x) == 2 else 0)

    broken = slices(uneven, batch_invariant=True)
    assert broken.outcome is Outcome.LAW_BROKEN
    assert "bits change for first 2 rows alone: 6 of 6" in broken.reason
    assert slices(uneven).notes["batch invariance"] == "not promised; bits change for first 2 rows alone"
    wrong = slices(lambda x: x + (9 if len(x) == 3 else 0))
    assert wrong.outcome is Outcome.OVER_BUDGET
    assert wrong.reason.startswith("first 3 rows alone: ")


def test_fault_of_a_part_is_the_verdict() -> None:
    def picky(x: Any) -> Any:
        if len(x) == 1:
            raise ValueError("one row is too few")
        return x.copy()

    verdict = slices(picky)
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.reason.startswith("first 1 rows alone: ")


def test_kernel_that_remembers_is_caught_at_its_second_call() -> None:
    memory: list[Any] = []

    def cached(x: Any) -> Any:
        memory[:] = memory or [x.copy()]
        return memory[0].copy()

    two = (given(), given(X[::-1].copy()))
    verdict = comparison.second_call(trial(cached), two, judge)
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert verdict.reason.startswith("call 2, same addresses: ")
    assert comparison.second_call(trial(copied), two, judge).outcome is Outcome.PASS


def test_exact_answer_of_zeros_proves_nothing_unless_there_is_nothing_to_compute() -> None:
    zero = np.zeros((2, 2))
    one = trial(copied)
    got = Obtained(zero.view(np.uint64))
    guessed = judge_exactly(one, Truth(zero, zero, zero, np.ones((2, 2)), "given"), got)
    assert guessed.outcome is Outcome.VACUOUS
    assert "zero everywhere" in guessed.reason
    assert judge_exactly(one, Truth(zero, zero, zero, zero, "given"), got).outcome is Outcome.PASS


def test_part_of_a_proof_cuts_every_array() -> None:
    zero = np.zeros(X.shape)
    arrays = {name: X + i for i, name in enumerate(("allowed", "sigma", "before", "overflow_slack"))}
    whole = Proof(Truth(X, zero, zero, X, "given"), Budget(formula="", source="", **arrays), "")
    cut = part_of(whole, (slice(1, 3), [2, 0]))
    assert np.array_equal(cut.truth.hi, X[1:3][:, [2, 0]])
    for name, array in arrays.items():
        assert np.array_equal(getattr(cut.budget, name), array[1:3][:, [2, 0]])


def test_override_widens_the_budget_and_looks_for_holes_again() -> None:
    one = trial(copied)
    assert widened(proof(X), one).budget.allowed.max() == 0.5
    wide = widened(proof(X), replace(one, settings={"budget_factor": 100.0, "budget_why": "measured"}))
    assert wide.budget.allowed.max() == 50.0
    assert wide.budget.formula == "100 * (a half), since measured"
    assert "zeros" in wide.hole


def test_kept_function_runs_once_for_what_is_drawn_and_forgets_the_oldest() -> None:
    calls: list[Any] = []

    @kept(2)
    def product(given: Given, factor: float) -> float:
        calls.append((given.drawn, factor))
        return factor * float(given.operands["x"].values.sum())

    def drawn(name: str | None) -> Given:
        return replace(given(), drawn=name)

    assert [product(drawn("a"), 2.0), product(drawn("a"), 2.0), product(drawn("a"), 3.0)] == [132.0, 132.0, 198.0]
    assert calls == [("a", 2.0), ("a", 3.0)]
    product(drawn("b"), 2.0)
    product(drawn("a"), 3.0)
    assert len(calls) == 3, "of the two that are kept the latest used stays"
    product(drawn("a"), 2.0)
    assert len(calls) == 4
    product(replace(drawn("a"), options={"causal": True}), 2.0)
    assert len(calls) == 5, "other options are another call"
    for _ in range(2):
        product(drawn(None), 2.0)
    assert len(calls) == 7, "what nothing drew is computed each time"


def test_roomy_keeps_more_and_forgets_all_at_the_end() -> None:
    made: list[int] = []

    @kept(2)
    def double(given: Given) -> int:
        made.append(given.drawn)
        return 2 * int(given.drawn)

    asked = [Given({}, drawn=number) for number in range(6)]

    def twice() -> int:
        """Calls that computed, of six cases asked for twice in turn."""
        made.clear()
        assert [double(one) for one in asked * 2] == [0, 2, 4, 6, 8, 10] * 2
        return len(made)

    assert twice() == 12, "two are not enough for six in turn"
    with roomy(3):
        assert twice() == 4, "the last two were still there"
        assert twice() == 0
    assert twice() == 12, "nothing is left, and no more than two are kept again"
