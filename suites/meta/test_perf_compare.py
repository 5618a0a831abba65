"""Comparisons end to end on invented clocks: judged first, timed by turns, confirmed, told, and the exit status."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from random import Random
from typing import Any

import cheating_softmaxes as cheats
import numpy as np
import pytest

from lastbit import cli
from lastbit.errors import UsageError
from lastbit.kernel import Kernel
from lastbit.perf import compare, sides
from lastbit.perf.again import confirmed
from lastbit.perf.compare import Terms, compare_kernels, usual_cases
from lastbit.perf.comparison import Comparison, exit_status, sentence
from lastbit.perf.pairs import Stop
from lastbit.perf.samples import Sample
from lastbit.perf.sides import Side
from lastbit.reports import speed
from lastbit.suites.law import OPS_WITH_LAW
from lastbit.verdict import Outcome

CASE = "bound normal/m6-n40"
TERMS = Terms(stop=Stop(budget_s=20.0))


class InventedClock:
    """Runs what is timed, and says that the call of a kernel called "slow" took more."""

    target_ns = 4_000

    def __init__(self, slower: float) -> None:
        self.slower, self.random = slower, Random(17)

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        before = cheats.slow_calls
        run()
        slower = self.slower if cheats.slow_calls > before else 0.0
        ns = int(calls * 1e6 * (1 + slower) * math.exp(self.random.gauss(0, 0.004)))
        return Sample(calls, ns, ns)


@pytest.fixture
def slower(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def invent(share: float) -> None:
        monkeypatch.setattr(compare, "clock", lambda device, threads: InventedClock(share))

    return invent


def agree(base: Side, head: Side, found: Comparison, terms: Terms) -> Comparison:
    return replace(found, confirmed=(Outcome.SLOW,))


def one(base: Kernel, head: Kernel, case: str = CASE, **given: Any) -> Comparison:
    (found,) = compare_kernels(base, head, (case,), TERMS, confirm=given.pop("confirm", agree), **given)
    return found


RIGHT, SLOW = cheats.kernel(cheats.right, "mine/right"), cheats.kernel(cheats.slow, "mine/slow")


@pytest.mark.parametrize(
    ("share", "outcome", "status"),
    [(0.0, Outcome.PASS, 0), (0.02, Outcome.PASS, 0), (0.1, Outcome.SLOW, 1), (1.5, Outcome.SLOW, 1)],
)
def test_slower_head(slower: Callable[[float], None], share: float, outcome: Outcome, status: int) -> None:
    slower(share)
    found = one(RIGHT, SLOW)
    assert (found.outcome, exit_status([found])) == (outcome, status)
    assert found.ratio == pytest.approx(1 + share, rel=0.02)
    assert found.low <= found.ratio <= found.high
    assert (found.kernel, found.base, found.head) == ("mine/slow", "mine/right", "mine/slow")
    assert found.base_ns == pytest.approx(1e6, rel=0.02)
    assert found.confirmed == ((Outcome.SLOW,) if outcome is Outcome.SLOW else ())
    faster = one(SLOW, RIGHT)
    assert faster.outcome is Outcome.PASS
    assert faster.ratio == pytest.approx(1 / (1 + share), rel=0.02)


def test_a_little_slower_is_inconclusive(slower: Callable[[float], None]) -> None:
    slower(0.047)
    found = one(RIGHT, SLOW)
    assert (found.outcome, exit_status([found])) == (Outcome.INCONCLUSIVE, 3)


def test_wrong_head_has_no_speed(slower: Callable[[float], None]) -> None:
    """It fails as what it is, however fast; a wrong base leaves the question open."""
    slower(0.0)
    wrong = cheats.kernel(np.zeros_like, "mine/zeros")
    found = one(RIGHT, wrong)
    assert (found.outcome, found.taken, exit_status([found])) == (Outcome.OVER_BUDGET, 0, 1)
    assert found.reason.startswith("head is not right, so it has no speed (over_budget): max error")
    back = one(wrong, RIGHT)
    assert (back.outcome, exit_status([back])) == (Outcome.INCONCLUSIVE, 3)
    assert back.reason.startswith("base is not right")


@pytest.mark.parametrize("cheat", sorted(cheats.CHEATS))
def test_cheating_head_has_no_speed(slower: Callable[[float], None], cheat: str) -> None:
    slower(0.0)
    found = one(RIGHT, cheats.kernel(cheats.CHEATS[cheat]()))
    assert found.outcome.failed
    assert found.outcome is not Outcome.SLOW
    assert found.reason.startswith("head is not right")
    assert "a timed call" in found.reason
    back = one(cheats.kernel(cheats.CHEATS[cheat]()), RIGHT)
    assert back.outcome is Outcome.INCONCLUSIVE
    assert back.reason.startswith("base is not right")


def test_a_head_that_remembers_its_operands_has_no_speed(slower: Callable[[float], None]) -> None:
    """Its results are right and its own; but what it has not seen takes longer."""
    slower(1.0)
    found = one(RIGHT, cheats.kernel(cheats.by_content()))
    assert found.outcome is Outcome.WRONG_STRUCTURE
    assert found.reason.endswith(
        "it remembers: on data never seen a timed call takes 2.0 times as long as on data seen before"
    )
    assert one(RIGHT, SLOW).outcome is Outcome.SLOW  # on all data alike
    slower(0.3)
    assert one(RIGHT, cheats.kernel(cheats.by_content())).outcome is Outcome.PASS


def test_a_kernel_that_refuses_unseen_data_spoils_nothing_for_the_other(slower: Callable[[float], None]) -> None:
    """Data in other places need not make sense to a kernel: it is not asked again, and the ring is as it was."""
    slower(0.0)
    known: set[bytes] = set()

    def picky(x: Any) -> Any:
        if len(known) == 2 and x.tobytes() not in known:
            raise ValueError("these data make no sense")
        known.add(x.tobytes())
        return cheats.right(x)

    found = one(cheats.kernel(picky, "mine/picky"), RIGHT)
    assert found.outcome is Outcome.PASS, found.reason


def answering(*outcomes: Outcome | str) -> Callable[..., Comparison]:
    answers = list(outcomes)

    def again(base: Side, head: Side, found: Comparison, terms: Terms) -> Comparison:
        answer = answers.pop(0)
        if not isinstance(answer, Outcome):
            raise UsageError(answer)
        return replace(found, outcome=answer, reason="told so")

    return again


@pytest.mark.parametrize(
    ("answers", "outcome", "text"),
    [
        ((Outcome.SLOW,), Outcome.SLOW, " in a fresh process"),
        ((Outcome.PASS, Outcome.SLOW), Outcome.SLOW, " in a fresh process"),
        ((Outcome.INCONCLUSIVE, Outcome.SLOW), Outcome.SLOW, " in a fresh process"),
        ((Outcome.PASS, Outcome.PASS), Outcome.INCONCLUSIVE, "not confirmed: pass in a fresh process (told so)"),
        ((Outcome.PASS, Outcome.INCONCLUSIVE), Outcome.INCONCLUSIVE, "not confirmed: inconclusive"),
        (("it is nowhere",), Outcome.INCONCLUSIVE, "not confirmed: it is nowhere"),
    ],
)
def test_slow_needs_a_fresh_process(
    slower: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    answers: tuple[Outcome | str, ...],
    outcome: Outcome,
    text: str,
) -> None:
    slower(0.1)
    monkeypatch.setattr("lastbit.perf.again.again", answering(*answers))
    found = one(RIGHT, SLOW, confirm=confirmed)
    assert found.outcome is outcome
    assert text in found.reason
    assert found.confirmed == tuple(answer for answer in answers if isinstance(answer, Outcome))


def test_fresh_process_finds_the_kernels_and_judges_them_itself() -> None:
    """A real one: it may find any speed, but it finds both kernels, and that a wrong one is wrong."""
    start = replace(told(Outcome.NOT_TESTED), case="normal/m6-n40")
    from lastbit.perf.again import again

    terms = replace(TERMS, stop=Stop(most=20, budget_s=1.0))
    found = again(sides.side(RIGHT), sides.side(SLOW), start, terms)
    assert (found.kernel, found.case, found.check) == ("mine/slow", "normal/m6-n40", "bound")
    assert found.taken > 0
    wrong = again(sides.side(RIGHT), sides.side(cheats.kernel(np.zeros_like, "mine/zeros")), start, terms)
    assert wrong.outcome is Outcome.OVER_BUDGET


def test_a_kernel_that_no_other_process_can_find_is_not_slow(slower: Callable[[float], None]) -> None:
    slower(0.1)

    def local(x: Any) -> Any:
        return cheats.slow(x)

    found = one(RIGHT, cheats.kernel(local, "mine/local"), confirm=confirmed)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "not confirmed" in found.reason


def test_formats_and_ops_must_match(slower: Callable[[float], None]) -> None:
    slower(0.0)
    both = replace(RIGHT, formats=({"x": "f32", "out": "f32"}, {"x": "f64", "out": "f64"}))
    found = compare_kernels(RIGHT, both, (CASE,), TERMS, confirm=agree)
    assert [entry.outcome for entry in found] == [Outcome.PASS, Outcome.NOT_TESTED]
    assert "no such formats" in found[1].reason
    with pytest.raises(UsageError, match="compare one op"):
        compare_kernels(RIGHT, replace(RIGHT, name="mine/lse", op="logsumexp"))


def test_a_case_that_head_is_not_asked_for_is_told(slower: Callable[[float], None]) -> None:
    slower(0.0)
    found = one(RIGHT, replace(RIGHT, limit=100))
    assert (found.outcome, exit_status([found])) == (Outcome.NOT_TESTED, 3)
    assert "240 products are more than the 100" in found.reason


def test_sizes_that_differ_by_kernel_are_not_compared(slower: Callable[[float], None]) -> None:
    slower(0.0)
    small, large = (replace(RIGHT, tile={"n": size}) for size in (32, 64))
    found = one(small, large, "tails normal/m5-ntile")
    assert (found.outcome, exit_status([found])) == (Outcome.NOT_TESTED, 3)
    assert "other sizes" in found.reason


@pytest.mark.parametrize("op", OPS_WITH_LAW)
def test_every_op_has_cases_that_make_one_call(op: str) -> None:
    from lastbit.perf.evidence import evidence

    names = {"gemm": "matmul", "scaled_gemm": "scaled-i8-rows", "paged_attention": "paged-gather"}
    names |= {"kv_append": "kv-append", "quantize": "quantize-i8-row", "dequantize": "dequantize-i8-row"}
    names["cast"] = "astype-f16"
    (given,) = sides.find((), (f"numpy/{names.get(op, op)}",)).kernels
    found = compare.choices(given, usual_cases(op), TERMS)
    assert len({trial.case.id for _, trial in found}) == len(usual_cases(op))
    check, trial = found[0]
    proof = evidence(check, trial)
    assert proof.passed, proof.record.reason
    assert len(proof.calls) == 2


def told(outcome: Outcome, ratio: float = 0.0, kernel: str = "mine/softmax") -> Comparison:
    taken = 100 if ratio else 0
    return Comparison(
        kernel, "softmax", "x:f32 out:f32", "cpu", "bound", "normal/m6-n40", "main", "HEAD", outcome, "so it is",
        ratio, ratio * 0.99, ratio * 1.01, taken, taken, 1e5, 1e5 * ratio, 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((), 3),
        ((Outcome.PASS,), 0),
        ((Outcome.PASS, Outcome.NOT_TESTED), 0),
        ((Outcome.NOT_TESTED,), 3),
        ((Outcome.PASS, Outcome.INCONCLUSIVE), 3),
        ((Outcome.INCONCLUSIVE, Outcome.SLOW), 1),
        ((Outcome.PASS, Outcome.OVER_BUDGET), 1),
        ((Outcome.PASS, Outcome.CRASHED), 1),
    ],
)
def test_exit_status(outcomes: tuple[Outcome, ...], status: int) -> None:
    assert exit_status([told(outcome) for outcome in outcomes]) == status


def test_sentence_and_table() -> None:
    several = [
        told(Outcome.PASS, 1.01),
        told(Outcome.SLOW, 1.12, "mine/gemm"),
        told(Outcome.SLOW, 3.0, "mine/cast"),
        told(Outcome.OVER_BUDGET),
        told(Outcome.INCONCLUSIVE, 1.05),
    ]
    assert sentence(several) == (
        "2 cases are slower than main, at worst mine/cast (3.00 times); 1 case is wrong, so without a speed; "
        "1 case is inconclusive."
    )
    assert sentence(several[:1]) == "1 case is as fast as main, at worst mine/softmax at +1.0%."
    assert sentence([]) == "nothing was compared."
    text = speed.text(several)
    assert "1.120    1.109 to 1.131   100 us  112 us  100 of 100     slow" in text
    assert "over_budget mine/softmax bound normal/m6-n40 x:f32 out:f32: so it is" in text
    assert text.endswith(sentence(several))
    assert [speed.duration(ns) for ns in (12.0, 31_400, 2.25e6, 1.5e9)] == ["12 ns", "31.4 us", "2.25 ms", "1.5 s"]


def test_command(
    slower: Callable[[float], None], tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(name, "1")
    slower(0.0)
    words = ("compare", "--perf", "numpy/softmax", "numpy/softmax", "--case", f"{CASE} x:f32,out:f32")
    assert cli.main([*words, "--json", "out.json"]) == 0
    assert "1 case is as fast as numpy/softmax" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["status"] == 0
    (row,) = stored["comparisons"]
    assert row.keys() == {*asdict(told(Outcome.PASS)), "clean_share"}
    assert (row["outcome"], row["kernel"], row["threads"]) == ("pass", "numpy/softmax", 1)
    assert cli.main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == 0
    assert cli.main(["compare", "numpy/softmax", "numpy/softmax"]) == 2
    assert "give --perf" in capsys.readouterr().err
