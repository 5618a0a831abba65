"""The law of paged attention has teeth: every planted fault is caught by the check that is meant for it."""

from collections.abc import Callable
from typing import Any

import faulty_paged as zoo
import pytest

from lastbit.contract import Contract
from lastbit.verdict import Outcome
from lastbit.verify import verify


@pytest.mark.parametrize(
    ("name", "run", "formats", "contract", "checks"), zoo.ATTENTION_FAULTS, ids=[row[0] for row in zoo.ATTENTION_FAULTS]
)
def test_fault_is_caught_by_name(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, checks: frozenset[str]
) -> None:
    report = verify(zoo.attention_kernel(name, run, formats, contract), tier="smoke", seed=0)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert name in str(report)
