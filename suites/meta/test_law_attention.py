"""The attention law has teeth: every planted fault is caught by each check that is meant for it."""

from collections.abc import Callable
from typing import Any

import faulty_attentions as zoo
import pytest

from lastbit.contract import Contract
from lastbit.suites.attention import CHECKS
from lastbit.verdict import Outcome
from lastbit.verify import verify

SMOKE = {check.name: [case.id for case in check.cases if case.tier == "smoke"] for check in CHECKS}


@pytest.mark.parametrize(
    ("name", "run", "formats", "contract", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
def test_fault_is_caught_by_name(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, checks: frozenset[str]
) -> None:
    cases = [f"{check} {case}" for check in sorted(checks) for case in SMOKE[check]]
    report = verify(zoo.kernel(name, run, formats, contract), tier="smoke", seed=3, case=cases)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == checks, f"not caught by {sorted(checks - failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert name in str(report)


def test_every_check_catches_a_fault() -> None:
    """A check that no fault of the zoo needs would be untested; the hunt judges its cases as other checks do."""
    caught = {check for row in zoo.FAULTS for check in row[4]}
    assert set(SMOKE) - caught == {"hunt"}
