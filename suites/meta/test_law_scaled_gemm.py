"""The law of scaled GEMM has teeth: each planted fault is caught by a check meant for it."""

from typing import Any

import correct_scaled_gemms as right
import faulty_scaled_gemms as zoo
import pytest

from lastbit.contract import Contract
from lastbit.verdict import Outcome
from lastbit.verify import verify


@pytest.mark.parametrize(
    ("name", "run", "scheme", "contract", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
@pytest.mark.parametrize("seed", [0])
def test_fault_is_caught_by_name(
    name: str, run: Any, scheme: right.Scheme, contract: Contract, checks: frozenset[str], seed: int
) -> None:
    # A cheat with a memory starts anew in each run, as it would in each process.
    chosen = type(run)(scheme) if isinstance(run, zoo.CHEATS) else run
    report = verify(right.kernel(name, chosen, scheme, contract), tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert name in str(report)
