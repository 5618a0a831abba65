"""The law of dequantizers has teeth: planted faults are caught by name, right kernels are not flagged."""

from typing import Any

import faulty_dequantizers as zoo
import numpy as np
import pytest
from quantize_parts import Array, Step, kernel

from lastbit.contract import Contract
from lastbit.suites import dequantize
from lastbit.verdict import Outcome
from lastbit.verify import verify

SEEDS = 4


def quiet(run: Step) -> Step:
    def call(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return run(*arrays)

    return call


@pytest.mark.parametrize(
    ("name", "run", "scaling", "out", "contract", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
def test_fault_is_caught_by_name(
    name: str, run: Step, scaling: Any, out: str, contract: Contract | None, checks: set[str]
) -> None:
    report = verify(kernel(name, quiet(run), scaling, out, contract, "dequantize"), tier="smoke", seed=0)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert not report.passed
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert name in str(report)


@pytest.mark.parametrize(
    ("name", "run", "scaling", "out", "contract"), zoo.CORRECT, ids=[row[0] for row in zoo.CORRECT]
)
def test_correct_kernel_is_not_flagged(name: str, run: Step, scaling: Any, out: str, contract: Contract | None) -> None:
    for seed in range(SEEDS):
        report = verify(kernel(name, quiet(run), scaling, out, contract, "dequantize"), tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed


def fails_without_rows(codes: Array, scale: Array) -> Array:
    return zoo.mxfp8(codes if codes.size else codes[0], scale)


def test_every_check_can_fail() -> None:
    """A wrong exponent fails on all codes; rounding and zero points have faults of their own."""
    known = {row[0]: row for row in zoo.FAULTS}
    faults = [
        (known["F080-bias-off-by-one"], "standard"),
        (known["F080-code-255-infinite"], "smoke"),
        (known["double-rounding"], "smoke"),
        (known["F086-sign"], "smoke"),
        (("no-rows", fails_without_rows, "mxfp8_e4m3", "f32", None), "smoke"),
    ]
    failing = set()
    for row, tier in faults:
        report = verify(kernel(row[0], quiet(row[1]), *row[2:5], "dequantize"), tier=tier, seed=0)
        failing |= {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == {check.name for check in dequantize.CHECKS}
