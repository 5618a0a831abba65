"""The search of paged attention catches planted faults, and shrinks them to cases that its own checks replay."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import faulty_paged as zoo
import pytest

from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.suites.paged import CHECKS
from lastbit.suites.paged_cases import HUNT
from lastbit.suites.paged_hunt import hunt
from lastbit.verdict import Outcome

#: Faults that a single call with few pages cannot show.
ELSEWHERE = {"narrow-page-id", "remembers-table"}
FAULTS = [row[:4] for row in zoo.ATTENTION_FAULTS if row[0] not in ELSEWHERE]
SEEDS = 2


def trial(name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract) -> Trial:
    kernel = zoo.attention_kernel(name, run, formats, contract)
    return Trial(kernel, formats, resolved(contract, formats), "cpu", HUNT[0], tier="standard")


@pytest.mark.parametrize(("name", "run", "formats", "contract"), FAULTS, ids=[row[0] for row in FAULTS])
def test_planted_fault_is_caught_and_its_shrunk_case_replayed(
    name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract
) -> None:
    one = trial(name, run, formats, contract)
    verdicts = (hunt(replace(one, seed=seed)) for seed in range(SEEDS))
    found = next((verdict for verdict in verdicts if verdict.outcome.failed), None)
    assert found is not None
    case, seed = Case.parse(found.notes["shrunk case"]), int(found.notes["shrunk seed"])
    check = next(check for check in CHECKS if check.name == found.notes["shrunk check"])
    assert check.judge(replace(one, case=case, seed=seed)).outcome is found.outcome


def test_one_token_too_few_shrinks_to_two_tokens() -> None:
    name, run, formats, contract = next(row for row in FAULTS if row[0] == "drops-last-token")
    found = hunt(trial(name, run, formats, contract))
    sizes = dict(Case.parse(found.notes["shrunk case"]).sizes)
    assert sizes["len"] == 2
    assert sizes["b"] == sizes["hkv"] == sizes["lq"] == 1


def test_kernel_that_supports_nothing_is_unsupported_and_not_vacuous() -> None:
    def picky(*operands: Any, **options: Any) -> Any:
        raise NotImplementedError("pages of 48 tokens only")

    verdict = hunt(trial("picky", picky, zoo.BF16, Contract()))
    assert verdict.outcome is Outcome.UNSUPPORTED
    assert verdict.reason == "the kernel supports none of 60 drawn cases"
