"""Casts that are right are never flagged, whatever bits they are made of, under twenty seeds."""

import cast_parts as parts
import pytest
from correct_casts import CORRECT

from lastbit.verdict import Outcome
from lastbit.verify import verify

SEEDS = 20


def judge(row: parts.Right, seed: int, tier: str = "smoke") -> None:
    name, run, formats, contract = row
    report = verify(parts.kernel(name, run, formats, contract), tier=tier, seed=seed)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
    assert Outcome.VACUOUS not in {record.outcome for record in report.records}


@pytest.mark.parametrize("row", CORRECT, ids=[row[0] for row in CORRECT])
def test_correct_kernel_is_not_flagged(row: parts.Right) -> None:
    judge(row, seed=0, tier="standard")
    judge(row, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, SEEDS))
def test_correct_kernels_are_not_flagged_under_other_seeds(seed: int) -> None:
    for row in CORRECT:
        judge(row, seed)
