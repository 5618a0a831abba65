"""The attention law does no harm: attentions that differ and are right are never flagged."""

import pytest

from lastbit.discovery import Found
from lastbit.suites.zoo.attention_variants import VARIANTS
from lastbit.verify import walk


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_correct_kernels_are_not_flagged(seed: int) -> None:
    """A third of the variants under each seed; they take turns at each case and share its truth."""
    chosen = [variant for i, variant in enumerate(VARIANTS) if i % 3 == seed % 3]
    found = Found(tuple(variant.build() for variant in chosen))
    report = walk(found, {"tier": "smoke", "seed": seed, "device": ["cpu"]}, "lastbit.verify(kernel")
    flagged = [r for r in report.records if r.outcome.failed]
    assert [f"{r.kernel} {r.check} {r.case}: {r.reason}" for r in flagged] == []
    assert {r.kernel for r in report.records if r.outcome.judged} == {kernel.name for kernel in found.kernels}
