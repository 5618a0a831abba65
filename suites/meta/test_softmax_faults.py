"""The law of softmax has teeth: every planted fault is caught by the check that is meant for it, in each of its ops."""

import pytest
import softmax_parts as parts
from faulty_softmaxes import FAULTS

from lastbit.verdict import Outcome
from lastbit.verify import verify

CASES = [(row, op) for row in FAULTS for op in row[2]]


@pytest.mark.parametrize(("row", "op"), CASES, ids=[f"{row[0]}-{op}" for row, op in CASES])
def test_fault_is_caught_by_name(row: parts.Fault, op: str) -> None:
    name, run, _, formats, contract, checks = row
    report = verify(parts.kernel(name, op, run, formats, contract), tier="smoke", seed=11)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert name in str(report)


def test_hunt_reports_a_kernel_that_answers_otherwise_the_second_time() -> None:
    """Shrinking replays a case: a kernel that then passes is still reported, and not as lastbit's own failure."""
    calls = iter(range(10**6))

    def sometimes(op: str, x: parts.Array) -> parts.Array:
        return parts.honest(op, x) * parts.f32(2.0 if next(calls) == 3 else 1.0)

    kernel = parts.kernel("sometimes", "softmax", sometimes, parts.F32, parts.PLAIN)
    report = verify(kernel, case=["hunt normal/m1-n1"])
    assert [finding.outcome for finding in report.findings] == [Outcome.OVER_BUDGET]
