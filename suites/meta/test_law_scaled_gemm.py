"""The law of scaled GEMM has teeth: each planted fault is caught by a check meant for it."""

import pytest

from lastbit.suites.zoo import scaled_gemm_faults, scaled_gemm_path_faults, scaled_gemm_scale_faults
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*scaled_gemm_scale_faults.FAULTY, *scaled_gemm_faults.FAULTY, *scaled_gemm_path_faults.FAULTY)


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
@pytest.mark.parametrize("seed", [0])
def test_fault_is_caught_by_name(fault: Faulty, seed: int) -> None:
    report = verify(fault.build(), tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert fault.name in str(report)
