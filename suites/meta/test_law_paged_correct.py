"""Paged attentions that differ and are right are not flagged by the law of paged attention."""

from collections.abc import Callable
from typing import Any

import faulty_paged as zoo
import pytest

from lastbit.contract import Contract
from lastbit.verify import verify


@pytest.mark.parametrize(
    ("name", "run", "formats", "contract"), zoo.ATTENTION_CORRECT, ids=[row[0] for row in zoo.ATTENTION_CORRECT]
)
def test_correct_kernel_is_not_flagged(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract
) -> None:
    for seed in range(5):
        report = verify(zoo.attention_kernel(name, run, formats, contract), tier="smoke", seed=seed)
        assert [f for f in report.findings if f.outcome.failed] == []
        assert report.passed
