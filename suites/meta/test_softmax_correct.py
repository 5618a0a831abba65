"""Softmaxes that are right are never flagged, however they sum, scale and order, under five seeds."""

import pytest

from lastbit.suites.zoo.softmax_parts import ALL
from lastbit.suites.zoo.softmax_variants import VARIANTS
from lastbit.suites.zoo.specimen import Variant
from lastbit.verdict import Outcome
from lastbit.verify import verify

SEEDS = 5
#: Op by op, so that kernels share truths.
ORDERED = sorted(VARIANTS, key=lambda variant: variant.build().op)


def judge(variant: Variant, seed: int) -> None:
    kernel = variant.build()
    report = verify(kernel, tier="smoke", seed=seed)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
    vacuous = [record for record in report.records if record.outcome is Outcome.VACUOUS]
    judged = [record for record in report.records if record.outcome is not Outcome.NOT_TESTED]
    if kernel.contract.accumulator is None:
        assert vacuous == [], "the law's own data leave a budget of f32 room for a counterfeit"
    assert len(vacuous) < len(judged), "a declared narrow sum must leave something to judge"


@pytest.mark.parametrize("variant", ORDERED, ids=[variant.name for variant in ORDERED])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    judge(variant, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEEDS))
@pytest.mark.parametrize("op", ALL)
def test_correct_kernels_are_not_flagged_under_other_seeds(op: str, seed: int) -> None:
    for variant in VARIANTS:
        if variant.build().op == op:
            judge(variant, seed)
