"""Paged attentions that differ and are right are not flagged by the law of paged attention."""

import pytest

from lastbit.suites.zoo.paged_variants import VARIANTS
from lastbit.suites.zoo.specimen import Variant
from lastbit.verify import verify


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    for seed in range(5):
        report = verify(variant.build(), tier="smoke", seed=seed)
        assert [f for f in report.findings if f.outcome.failed] == []
        assert report.passed
