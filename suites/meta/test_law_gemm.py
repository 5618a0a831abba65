"""The GEMM law has teeth: each planted fault is caught by a check meant for it, and no correct kernel is flagged."""

import pytest

from lastbit.suites.zoo import gemm_cheats, gemm_faults, gemm_index_faults, gemm_variants
from lastbit.suites.zoo.specimen import Faulty, Variant
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*gemm_faults.FAULTY, *gemm_index_faults.FAULTY, *gemm_cheats.FAULTY)


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
@pytest.mark.parametrize("seed", [0, 11])
def test_fault_is_caught_by_name(fault: Faulty, seed: int) -> None:
    report = verify(fault.build(), tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


@pytest.mark.parametrize("variant", gemm_variants.VARIANTS, ids=[variant.name for variant in gemm_variants.VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    for seed in (0, 1):
        report = verify(variant.build(), tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed
