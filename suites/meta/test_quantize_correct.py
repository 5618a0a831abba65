"""Right quantizers are not flagged, however they find a code, and whatever they declare."""

import pytest

from lastbit.suites.zoo.quantize_variants import VARIANTS
from lastbit.suites.zoo.specimen import Variant
from lastbit.verify import verify

SEEDS = 2


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    for seed in range(SEEDS):
        report = verify(variant.build(), tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed
