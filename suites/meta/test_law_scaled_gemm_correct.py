"""The law of scaled GEMM flags no correct kernel: other orders, other places of the scales, split sums."""

from typing import Any

import correct_scaled_gemms as right
import pytest

from lastbit.contract import Contract
from lastbit.verify import verify

CORRECT = right.correct()


@pytest.mark.parametrize(("run", "scheme", "contract"), list(CORRECT.values()), ids=list(CORRECT))
def test_correct_kernel_is_not_flagged(run: Any, scheme: right.Scheme, contract: Contract) -> None:
    report = verify(right.kernel("correct", run, scheme, contract), tier="smoke", seed=1)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
