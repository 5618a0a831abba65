"""The law of quantizers has teeth: planted faults are caught by the check that names them."""

from typing import Any

import faulty_quantizers as zoo
import pytest
from quantize_parts import Step, kernel

from lastbit.contract import Contract
from lastbit.verdict import Outcome
from lastbit.verify import verify


@pytest.mark.parametrize(
    ("name", "run", "scaling", "x", "contract", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
def test_fault_is_caught_by_name(
    name: str, run: Step, scaling: Any, x: str, contract: Contract | None, checks: set[str]
) -> None:
    report = verify(kernel(name, run, scaling, x, contract), tier="smoke", seed=0)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert not report.passed
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert name in str(report)
