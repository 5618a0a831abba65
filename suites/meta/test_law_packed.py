"""The law of packed batches has teeth, and does no harm: planted faults are caught, right kernels are not."""

from collections.abc import Callable
from typing import Any

import faulty_packed as zoo
import pytest

from lastbit.contract import Contract
from lastbit.discovery import Found
from lastbit.suites.attention_packed import CHECKS
from lastbit.verdict import Outcome
from lastbit.verify import verify, walk

SMOKE = {check.name: [case.id for case in check.cases if case.tier == "smoke"] for check in CHECKS}


@pytest.mark.parametrize(
    ("name", "run", "formats", "contract", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
def test_fault_is_caught_by_name(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, checks: frozenset[str]
) -> None:
    cases = [f"{check} {case}" for check in sorted(checks) for case in SMOKE[check]]
    report = verify(zoo.kernel(name, run, formats, contract), tier="smoke", seed=3, case=cases)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == checks, f"not caught by {sorted(checks - failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}


def test_every_check_catches_a_fault() -> None:
    assert set(SMOKE) == {check for row in zoo.FAULTS for check in row[4]}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_correct_kernels_are_not_flagged(seed: int) -> None:
    """Each variant in one of its formats, another one by seed."""
    chosen = [row for i, row in enumerate(zoo.CORRECT) if i % 3 == (i // 3 + seed) % 3]
    found = Found(tuple(zoo.kernel(*row) for row in chosen))
    cases = [f"{check} {case}" for check, over in SMOKE.items() for case in over]
    report = walk(found, {"tier": "smoke", "seed": seed, "device": ["cpu"], "case": cases}, "lastbit.verify(kernel")
    flagged = [r for r in report.records if r.outcome.failed]
    assert [f"{r.kernel} {r.check} {r.case}: {r.reason}" for r in flagged] == []
    assert {r.kernel for r in report.records if r.outcome.judged} == {kernel.name for kernel in found.kernels}
