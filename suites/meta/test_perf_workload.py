"""Timed calls are held to what the law judged: every cheat that pays off only while it is timed is caught."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cheating_softmaxes as cheats
import numpy as np
import pytest

from lastbit.errors import UsageError
from lastbit.kernel import Kernel
from lastbit.perf.compare import Terms, choices
from lastbit.perf.evidence import Evidence, evidence, judged_again
from lastbit.perf.ring import Ring, copies_for, last_cache, same_data
from lastbit.perf.samples import Sample
from lastbit.perf.workload import CpuClock, FaultyError, Workload
from lastbit.verdict import Outcome

CASE = "bound normal/m6-n40"


@dataclass(frozen=True)
class NoClock:
    """Runs what is timed, and says that it took a microsecond a call."""

    target_ns: int = 4_000

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        run()
        return Sample(calls, 1_000 * calls, 1_000 * calls)


def proof(kernel: Kernel, case: str = CASE) -> Evidence:
    ((check, trial),) = choices(kernel, (case,), Terms())
    return evidence(check, trial)


def workload(kernel: Kernel, case: str = CASE, copies: int = 4) -> Workload:
    found = proof(kernel, case)
    assert found.passed, found.record.reason
    return Workload(found, Ring(found.trials[0], found.calls, copies), NoClock())


def fault(kernel: Kernel, calls: int = 3, samples: int = 12) -> FaultyError:
    work = workload(kernel)
    with pytest.raises(FaultyError) as caught:
        take(work, calls, samples)
    return caught.value


def take(work: Workload, calls: int, samples: int) -> None:
    for _ in range(samples):
        work.sample(calls)


def test_an_honest_kernel_has_no_fault() -> None:
    work = workload(cheats.kernel(cheats.right))
    assert [work.sample(5).calls for _ in range(20)] == [5] * 20
    assert workload(cheats.kernel(cheats.right), copies=2).sample(7).ns_per_call == 1_000  # a copy is used again
    real = Workload(work.evidence, work.ring, CpuClock())
    assert real.sample(3).ns > 0


@pytest.mark.parametrize(
    ("cheat", "outcome", "text"),
    [
        ("by_address", Outcome.OVER_BUDGET, "a timed call: max error"),
        ("by_shape", Outcome.OVER_BUDGET, "a timed call: max error"),
        ("same_memory", Outcome.WRONG_STRUCTURE, "each result must be its own"),
        ("two_buffers", Outcome.WRONG_STRUCTURE, "each result must be its own"),
        ("into_operand", Outcome.WRONG_STRUCTURE, "each result must be its own"),
        ("spoils_operand", Outcome.WRONG_STRUCTURE, "changed operand x"),
        ("raises", Outcome.CRASHED, "raised RuntimeError: out of luck"),
        ("zeros", Outcome.OVER_BUDGET, "a timed call: max error"),
        ("narrow", Outcome.OVER_BUDGET, "a timed call: max error"),
        ("lazy", Outcome.WRONG_STRUCTURE, "it is a cheating_softmaxes.Lazy"),
        ("nothing", Outcome.WRONG_STRUCTURE, "returned a wrong thing"),
        ("short", Outcome.WRONG_STRUCTURE, "its shape is (5, 40)"),
        ("without_maximum", Outcome.LAW_BROKEN, "gave other bits than when it was judged"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) and " " not in value else "",
)
def test_cheat_is_caught(cheat: str, outcome: Outcome, text: str) -> None:
    caught = fault(cheats.kernel(cheats.CHEATS[cheat]()))
    assert caught.verdict.outcome is outcome
    assert text in caught.verdict.reason


def test_results_left_over_in_memory_are_poison() -> None:
    """What a kernel finds in memory that it does not write is no result of an earlier call."""
    caught = fault(cheats.kernel(cheats.after(cheats.unwritten)), calls=1, samples=30)
    assert caught.verdict.outcome in (Outcome.WRONG_CLASS, Outcome.OVER_BUDGET)


def test_one_call_a_sample_does_not_hide_that_memory_is_reused() -> None:
    assert "each result must be its own" in fault(cheats.kernel(cheats.same_memory()), calls=1).verdict.reason


def test_work_of_a_thread_that_has_not_finished_is_no_result() -> None:
    """Results are read at once: nothing waits for a thread, so what it has not written is not there."""
    late = cheats.Late()
    try:
        caught = fault(cheats.kernel(cheats.after(late)))
    finally:
        late.finish()
    assert caught.verdict.outcome in (Outcome.WRONG_CLASS, Outcome.OVER_BUDGET)


def test_bits_that_were_not_promised_may_differ_if_the_law_accepts_them() -> None:
    work = workload(cheats.kernel(cheats.CHEATS["without_maximum"](), deterministic=False))
    for _ in range(20):
        work.sample(2)
    assert work.accepted == 8
    wrong = cheats.kernel(cheats.CHEATS["narrow"](), deterministic=False)
    assert fault(wrong).verdict.outcome is Outcome.OVER_BUDGET


def test_the_law_judges_what_a_timed_call_returned() -> None:
    found = proof(cheats.kernel(cheats.right))
    for turn, call in enumerate(found.calls):
        assert judged_again(found, turn, call.codes).outcome is Outcome.PASS
        assert judged_again(found, 1 - turn, call.codes).outcome is Outcome.OVER_BUDGET


def test_a_kernel_that_fails_has_no_evidence_to_time() -> None:
    found = proof(cheats.kernel(np.zeros_like))
    assert not found.passed
    assert found.record.outcome is Outcome.OVER_BUDGET


def test_a_check_of_several_calls_has_no_one_time() -> None:
    with pytest.raises(UsageError, match="makes 3 calls, expected one call to time"):
        proof(cheats.kernel(cheats.right), "repeat normal/m6-n40")


def test_ring_changes_data_at_the_same_addresses() -> None:
    found = proof(cheats.kernel(cheats.right))
    ring = Ring(found.trials[0], found.calls, 3)
    assert [ring.take(2) for _ in range(3)] == [[0, 1], [2, 0], [1, 2]]
    seen = set()
    for _ in range(20):
        ring.renew(0)
        held = ring.tensors(0)["x"]
        assert np.array_equal(held.view(np.uint32), found.calls[ring.holds[0]].operands["x"].codes)
        seen.add((ring.spans(0)[0], ring.holds[0]))
    assert len({span for span, _ in seen}) == 1
    assert {turn for _, turn in seen} == {0, 1}
    assert ring.changed(0) == ""
    ring.tensors(0)["x"][0, 0] += 1
    assert ring.changed(0) == "x"
    assert ring.changed(0, ("x",)) == ""


def test_ring_needs_one_shape() -> None:
    found = proof(cheats.kernel(cheats.right))
    other = proof(cheats.kernel(cheats.right), "bound normal/m6-n41")
    with pytest.raises(UsageError, match="differ in shape"):
        Ring(found.trials[0], (found.calls[0], other.calls[1]), 2)
    assert same_data(found.calls, proof(cheats.kernel(cheats.right)).calls)
    assert not same_data(found.calls, other.calls)
    assert not same_data(found.calls, tuple(reversed(found.calls)))


@pytest.mark.parametrize(
    ("size", "cold", "copies"),
    [(1000, False, 2), (2**20, True, 160), (2**30, True, 2), (0, True, 4096)],
)
def test_cold_copies_fill_five_caches(size: int, cold: bool, copies: int) -> None:
    assert copies_for(size, 2**25, cold=cold) == copies


def test_last_cache_is_read_from_the_system(tmp_path: Any) -> None:
    for index, text in enumerate(("32K", "1024K", "32M\n")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(text)
    assert last_cache(tmp_path) == 2**25
    assert last_cache(tmp_path / "nowhere") == 2**25


def test_kernels_that_take_memory_for_the_result() -> None:
    """Feature "out": the memory is given, watched at its edges, and holds poison before each call."""
    scratch: list[int] = []

    def into(x: Any, out: Any) -> None:
        scratch.append(out.ctypes.data)
        out[...] = cheats.right(x)

    def beside(x: Any, out: Any) -> None:
        out[...] = cheats.right(x)
        if len(scratch) > cheats.JUDGED:
            np.lib.stride_tricks.as_strided(out, (out.size + 1,), (4,))[-1] = 1
        scratch.append(0)

    work = workload(replace(cheats.kernel(into), features=frozenset({"out"})))
    for _ in range(3):
        work.sample(4)
    assert len(set(scratch[cheats.JUDGED :])) == 4
    scratch.clear()
    assert "wrote outside" in fault(replace(cheats.kernel(beside), features=frozenset({"out"}))).verdict.reason
