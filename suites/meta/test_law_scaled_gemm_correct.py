"""The law of scaled GEMM flags no correct kernel: other orders, other places of the scales, split sums."""

import pytest

from lastbit.suites.zoo.scaled_gemm_variants import VARIANTS
from lastbit.suites.zoo.specimen import Variant
from lastbit.verify import verify


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    report = verify(variant.build(), tier="smoke", seed=1)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
