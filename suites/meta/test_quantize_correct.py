"""Right quantizers are not flagged, however they find a code, and whatever they declare."""

from typing import Any

import correct_quantizers as zoo
import pytest
from quantize_parts import Step, kernel

from lastbit.contract import Contract
from lastbit.verify import verify

SEEDS = 2


@pytest.mark.parametrize(("name", "run", "scaling", "x", "contract"), zoo.CORRECT, ids=[row[0] for row in zoo.CORRECT])
def test_correct_kernel_is_not_flagged(name: str, run: Step, scaling: Any, x: str, contract: Contract | None) -> None:
    for seed in range(SEEDS):
        report = verify(kernel(name, run, scaling, x, contract), tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed
