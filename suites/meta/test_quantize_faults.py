"""The law of quantizers has teeth: planted faults are caught by the check that names them."""

from typing import Any

import faulty_quantizers as zoo
import pytest
import quantize_parts as parts
from quantize_parts import Array, Step, kernel

from lastbit.contract import Contract
from lastbit.suites import quantize
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


def fails_without_rows(x: Array) -> Array:
    return parts.MXFP8(x if x.size else x[0])


def test_every_check_can_fail() -> None:
    """A wrong exponent fails wherever scales follow from the numbers; the others have faults of their own."""
    known = {row[0]: row for row in zoo.FAULTS}
    faults = [
        (known["F080-bias-off-by-one"], "standard"),
        (known["wraps"], "smoke"),
        (known["F087-stochastic-up"], "smoke"),
        (("no-rows", fails_without_rows, "mxfp8_e4m3", "f32", None), "smoke"),
    ]
    failing = set()
    for row, tier in faults:
        report = verify(kernel(*row[:5]), tier=tier, seed=0)
        failing |= {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == {check.name for check in quantize.CHECKS}
