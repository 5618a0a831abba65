"""The law of packed batches has teeth, and does no harm: planted faults are caught, right kernels are not."""

import pytest

from lastbit.discovery import Found
from lastbit.suites.attention_packed import CHECKS
from lastbit.suites.zoo.packed_combined_faults import FAULTY as COMBINED
from lastbit.suites.zoo.packed_faults import FAULTY as SIMPLE
from lastbit.suites.zoo.packed_variants import VARIANTS
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify, walk

FAULTY = (*SIMPLE, *COMBINED)
SMOKE = {check.name: [case.id for case in check.cases if case.tier == "smoke"] for check in CHECKS}


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    cases = [f"{check} {case}" for check in sorted(fault.checks) for case in SMOKE[check]]
    report = verify(fault.build(), tier="smoke", seed=3, case=cases)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == fault.checks, f"not caught by {sorted(fault.checks - failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}


def test_every_check_catches_a_fault() -> None:
    assert set(SMOKE) == {check for fault in FAULTY for check in fault.checks}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_correct_kernels_are_not_flagged(seed: int) -> None:
    """A third of the variants under each seed."""
    chosen = [variant for i, variant in enumerate(VARIANTS) if i % 3 == seed % 3]
    found = Found(tuple(variant.build() for variant in chosen))
    cases = [f"{check} {case}" for check, over in SMOKE.items() for case in over]
    report = walk(found, {"tier": "smoke", "seed": seed, "device": ["cpu"], "case": cases}, "lastbit.verify(kernel")
    flagged = [r for r in report.records if r.outcome.failed]
    assert [f"{r.kernel} {r.check} {r.case}: {r.reason}" for r in flagged] == []
    assert {r.kernel for r in report.records if r.outcome.judged} == {kernel.name for kernel in found.kernels}
