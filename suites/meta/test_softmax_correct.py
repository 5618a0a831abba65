"""Softmaxes that are right are never flagged, however they sum, scale and order, under five seeds."""

import pytest
import softmax_parts as parts
from correct_softmaxes import CORRECT

from lastbit.verdict import Outcome
from lastbit.verify import verify

SEEDS = 5
#: Op by op, so that kernels share truths.
CASES = [(op, row) for op in parts.ALL for row in CORRECT if op in row[2]]


def judge(op: str, row: parts.Right, seed: int) -> None:
    name, run, _, formats, contract = row
    report = verify(parts.kernel(name, op, run, formats, contract), tier="smoke", seed=seed)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
    vacuous = [record for record in report.records if record.outcome is Outcome.VACUOUS]
    judged = [record for record in report.records if record.outcome is not Outcome.NOT_TESTED]
    if contract.accumulator is None:
        assert vacuous == [], "the law's own data leave a budget of f32 room for a counterfeit"
    assert len(vacuous) < len(judged), "a declared narrow sum must leave something to judge"


@pytest.mark.parametrize(("op", "row"), CASES, ids=[f"{row[0]}-{op}" for op, row in CASES])
def test_correct_kernel_is_not_flagged(op: str, row: parts.Right) -> None:
    judge(op, row, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEEDS))
@pytest.mark.parametrize("op", parts.ALL)
def test_correct_kernels_are_not_flagged_under_other_seeds(op: str, seed: int) -> None:
    for row in CORRECT:
        if op in row[2]:
            judge(op, row, seed)
