"""Dequantizers that are wrong about some scales, or on some paths, are caught by name under every seed."""

import pytest

from lastbit.suites.zoo import dequantize_path_faults, dequantize_scale_faults
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*dequantize_scale_faults.FAULTY, *dequantize_path_faults.FAULTY)
SEEDS = 3


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    for seed in range(SEEDS):
        report = verify(fault.build(), tier="smoke", seed=seed)
        failing = {finding.check for finding in report.findings if finding.outcome.failed}
        assert failing & fault.checks, f"seed {seed}: caught only by {sorted(failing)}"
        assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
