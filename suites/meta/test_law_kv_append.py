"""The law of KV appends has teeth: planted faults are caught by name, right kernels are not flagged."""

import pytest

from lastbit.suites.zoo.collection import specimen
from lastbit.suites.zoo.kv_append_faults import FAULTY
from lastbit.suites.zoo.kv_append_variants import VARIANTS
from lastbit.suites.zoo.specimen import Faulty, Variant
from lastbit.verdict import Outcome
from lastbit.verify import verify


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
@pytest.mark.parametrize("seed", [0, 11])
def test_fault_is_caught_by_name(fault: Faulty, seed: int) -> None:
    report = verify(fault.build(), tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    for seed in range(5):
        report = verify(variant.build(), tier="standard", seed=seed)
        assert [f for f in report.findings if f.outcome.failed] == []
        assert report.passed


def test_lifecycle_catches_a_page_cleared_when_it_is_first_written() -> None:
    """The check runs a pool's forks and evictions; a page that is cleared too early loses what was forked."""
    kernel = specimen("kv_append-clears_page-bf16").build()
    report = verify(kernel, tier="standard", seed=0)
    assert "lifecycle" in {finding.check for finding in report.findings if finding.outcome.failed}
