"""The law of quantizers has teeth: planted faults are caught by the check that names them."""

import pytest

from lastbit.suites import quantize
from lastbit.suites.zoo import quantize_parts
from lastbit.suites.zoo.collection import faulty
from lastbit.suites.zoo.quantize_kernels import kernel
from lastbit.suites.zoo.quantize_parts import Array
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = tuple(one for one in faulty() if one.name.startswith("quantize-"))


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    report = verify(fault.build(), tier="smoke", seed=0)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert not report.passed
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


def fails_without_rows(x: Array) -> Array:
    return quantize_parts.MXFP8(x if x.size else x[0])


def test_every_check_can_fail() -> None:
    """A wrong exponent fails wherever scales follow from the numbers; the others have faults of their own."""
    known = {fault.name: fault.build() for fault in FAULTY}
    faults = [
        (known["quantize-bias_off_by_one-mxfp8_e4m3-f32"], "standard"),
        (known["quantize-wraps-i8_static-f32"], "smoke"),
        (known["quantize-stochastic_up-mxfp4-f32"], "smoke"),
        (kernel("no-rows", fails_without_rows, "mxfp8_e4m3"), "smoke"),
    ]
    failing = set()
    for one, tier in faults:
        report = verify(one, tier=tier, seed=0)
        failing |= {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == {check.name for check in quantize.CHECKS}
