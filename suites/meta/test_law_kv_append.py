"""The law of KV appends has teeth: planted faults are caught by name, right kernels are not flagged."""

from collections.abc import Callable
from typing import Any

import faulty_appends as zoo
import pytest

from lastbit.contract import Contract
from lastbit.verdict import Outcome
from lastbit.verify import verify


@pytest.mark.parametrize(
    ("name", "run", "formats", "features", "checks"), zoo.FAULTS, ids=[row[0] for row in zoo.FAULTS]
)
@pytest.mark.parametrize("seed", [0, 11])
def test_fault_is_caught_by_name(
    name: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    features: frozenset[str],
    checks: frozenset[str],
    seed: int,
) -> None:
    report = verify(zoo.kernel(name, run, formats, zoo.SATURATING, features), tier="smoke", seed=seed)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert name in str(report)


@pytest.mark.parametrize(
    ("name", "run", "formats", "contract", "features"), zoo.CORRECT, ids=[row[0] for row in zoo.CORRECT]
)
def test_correct_kernel_is_not_flagged(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract, features: frozenset[str]
) -> None:
    for seed in range(5):
        report = verify(zoo.kernel(name, run, formats, contract, features), tier="standard", seed=seed)
        assert [f for f in report.findings if f.outcome.failed] == []
        assert report.passed


def test_lifecycle_catches_a_page_cleared_when_it_is_first_written() -> None:
    """The check runs a pool's forks and evictions; a page that is cleared too early loses what was forked."""
    kernel = zoo.kernel("clears-page", zoo.FAULTS[2][1], zoo.BF16, zoo.SATURATING, zoo.NONE)
    report = verify(kernel, tier="standard", seed=0)
    assert "lifecycle" in {finding.check for finding in report.findings if finding.outcome.failed}
