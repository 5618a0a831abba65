"""The law of dequantizers has teeth: planted faults are caught by name, right kernels are not flagged."""

import pytest

from lastbit.suites import dequantize
from lastbit.suites.zoo import dequantize_faults, dequantize_scale_faults
from lastbit.suites.zoo.dequantize_parts import mxfp8
from lastbit.suites.zoo.dequantize_variants import VARIANTS
from lastbit.suites.zoo.quantize_kernels import kernel
from lastbit.suites.zoo.quantize_parts import Array
from lastbit.suites.zoo.specimen import Faulty, Variant
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*dequantize_faults.FAULTY, *dequantize_scale_faults.FAULTY)
SEEDS = 4


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    report = verify(fault.build(), tier="smoke", seed=0)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert not report.passed
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    for seed in range(SEEDS):
        report = verify(variant.build(), tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed


def fails_without_rows(codes: Array, scale: Array) -> Array:
    return mxfp8(codes if codes.size else codes[0], scale)


def test_every_check_can_fail() -> None:
    """A wrong exponent fails on all codes; rounding and zero points have faults of their own."""
    known = {fault.name: fault.build() for fault in FAULTY}
    faults = [
        (known["dequantize-bias_off_by_one-mxfp8_e4m3-f32"], "standard"),
        (known["dequantize-code_255_infinite-mxfp8_e4m3-f32"], "smoke"),
        (known["dequantize-double_rounding-i8_row-bf16"], "smoke"),
        (known["dequantize-sign-i4_group32_zp-f32"], "smoke"),
        (known["dequantize-global_missing-nvfp4-f32"], "smoke"),
        (kernel("no-rows", fails_without_rows, "mxfp8_e4m3", op="dequantize"), "smoke"),
    ]
    failing = set()
    for one, tier in faults:
        report = verify(one, tier=tier, seed=0)
        failing |= {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == {check.name for check in dequantize.CHECKS}
