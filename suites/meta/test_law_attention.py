"""The attention law has teeth: every planted fault is caught by each check that is meant for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.case import Case
from lastbit.suites.attention import CHECKS
from lastbit.suites.zoo import attention_call_faults, attention_faults, attention_mask_faults
from lastbit.suites.zoo import attention_parts as zoo
from lastbit.suites.zoo.attention_call_faults import odd_dimensions
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*attention_faults.FAULTY, *attention_mask_faults.FAULTY, *attention_call_faults.FAULTY)
#: Gradients and packed batches have zoos of their own.
SMOKE = {
    check.name: [case.id for case in check.cases if case.tier == "smoke"]
    for check in CHECKS
    if not check.name.startswith(("gradients", "packed"))
}


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    cases = [f"{check} {case}" for check in sorted(fault.checks) for case in SMOKE[check]]
    report = verify(fault.build(), tier="smoke", seed=3, case=cases)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == fault.checks, f"not caught by {sorted(fault.checks - failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


def test_every_check_catches_a_fault() -> None:
    """A check that no fault of the zoo needs would be untested; the hunt judges its cases as other checks do."""
    caught = {check for fault in FAULTY for check in fault.checks}
    assert set(SMOKE) - caught == {"hunt"}


def test_case_is_known_by_its_id() -> None:
    """The command that a failure prints finds the case again, options and all."""
    for check in CHECKS:
        for case in check.cases:
            assert replace(Case.parse(case.id), tier=case.tier) == case


def one_result(*operands: Any, **options: Any) -> Any:
    return zoo.attend(*operands, **options)[0]


def short_lse(*operands: Any, **options: Any) -> Any:
    out, lse = zoo.attend(*operands, **options)
    return out, lse[..., :-1]


def lse_inside_result(*operands: Any, **options: Any) -> Any:
    out, lse = zoo.attend(*operands, **options)
    memory = np.concatenate([out.reshape(-1), lse.reshape(-1)])
    return memory[: out.size].reshape(out.shape), memory[out.size - lse.size : out.size].reshape(lse.shape)


def lse_is_query(q: Any, *operands: Any, **options: Any) -> Any:
    return zoo.attend(q, *operands, **options)[0], q[..., 0]


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (one_result, "returned a ndarray, expected (out, lse)"),
        (short_lse, "its shape is (1, 1, 4), expected (1, 1, 5)"),
        (lse_inside_result, "memory of an earlier result"),
        (lse_is_query, "shares memory with operand q"),
    ],
)
def test_log_sum_exp_is_guarded_as_the_result_is(run: Callable[..., Any], text: str) -> None:
    report = verify(zoo.kernel("second", run, zoo.F32, zoo.PLAIN), tier="smoke", case=f"lse {SMOKE['lse'][0]}")
    assert [finding.outcome for finding in report.findings] == [Outcome.WRONG_STRUCTURE]
    assert text in report.findings[0].reason


def test_log_sum_exp_comes_back_from_a_process_of_its_own() -> None:
    kernel = zoo.kernel("isolated", zoo.attend, zoo.F32, zoo.PLAIN)
    report = verify(kernel, tier="smoke", case=f"lse {SMOKE['lse'][0]}", isolate=True)
    assert report.passed
    assert "log-sum-exp" in report.records[0].notes


def test_hunt_shrinks_what_it_finds() -> None:
    """A fault of odd head dimensions comes back as a small case that fails by itself."""
    kernel = zoo.kernel("hunted", zoo.turned(dot=odd_dimensions), zoo.F32, zoo.PLAIN)
    hunted = next(check for check in CHECKS if check.name == "hunt").cases[0]
    report = verify(kernel, tier="standard", case=f"hunt {hunted.id}", seed=1)
    (record,) = report.records
    assert record.outcome.failed
    case = Case.parse(record.notes["shrunk case"])
    sizes = dict(case.sizes)
    assert max(int(sizes["lq"]), int(sizes["lk"])) <= 2
    assert 8 < int(sizes["d"]) <= 24
    again = f"{record.notes['shrunk check']} {case.id}"
    assert not verify(kernel, tier="standard", case=again, seed=int(record.notes["shrunk seed"])).passed
