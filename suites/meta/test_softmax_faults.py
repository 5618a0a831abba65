"""The law of softmax has teeth: every planted fault is caught by the check that is meant for it, in each of its ops."""

import pytest

from lastbit.suites.zoo import softmax_cheats, softmax_faults
from lastbit.suites.zoo import softmax_parts as parts
from lastbit.suites.zoo.specimen import Faulty, kernel
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*softmax_faults.FAULTY, *softmax_cheats.FAULTY)


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    report = verify(fault.build(), tier="smoke", seed=11)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


def test_hunt_reports_a_kernel_that_answers_otherwise_the_second_time() -> None:
    """Shrinking replays a case: a kernel that then passes is still reported, and not as lastbit's own failure."""
    calls = iter(range(10**6))

    def sometimes(x: parts.Array) -> parts.Array:
        return parts.honest("softmax", x) * parts.f32(2.0 if next(calls) == 3 else 1.0)

    report = verify(kernel("sometimes", "softmax", sometimes, parts.F32, parts.PLAIN), case=["hunt normal/m1-n1"])
    assert [finding.outcome for finding in report.findings] == [Outcome.OVER_BUDGET]
