"""The GEMM law has teeth: each planted fault is caught by a check meant for it, and no correct kernel is flagged."""

from collections.abc import Callable
from typing import Any

import faulty_gemms as zoo
import pytest

from lastbit.contract import Contract
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULT = ("name", "run", "formats", "contract", "checks")
CORRECT = ("name", "run", "formats", "contract")


@pytest.mark.parametrize(FAULT, zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS])
@pytest.mark.parametrize("seed", [0, 11])
def test_fault_is_caught_by_name(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, checks: frozenset[str], seed: int
) -> None:
    # A cheat with a memory starts anew in each run, as it would in each process.
    kernel = zoo.kernel(name, type(run)() if isinstance(run, zoo.CHEATS) else run, formats, contract)
    report = verify(kernel, tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert Outcome.ERROR not in {finding.outcome for finding in report.findings}
    assert name in str(report)


@pytest.mark.parametrize(CORRECT, zoo.CORRECT, ids=[row[0] for row in zoo.CORRECT])
def test_correct_kernel_is_not_flagged(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract
) -> None:
    for seed in (0, 1, 2):
        report = verify(zoo.kernel(name, run, formats, contract), tier="smoke", seed=seed)
        assert [f for f in report.findings if f.outcome.failed] == []
        assert report.passed
