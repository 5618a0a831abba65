"""The law of dequantizers has teeth: planted faults are caught by name, right kernels are not flagged."""

from typing import Any

import faulty_dequantizers as zoo
import numpy as np
import pytest
from quantize_parts import Array, Step, kernel

from lastbit.contract import Contract
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
