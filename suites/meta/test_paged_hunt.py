"""The search of paged attention catches planted faults, and shrinks them to cases that its own checks replay."""

from dataclasses import replace
from typing import Any

import pytest

from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.kernel import Kernel
from lastbit.suites.paged import CHECKS
from lastbit.suites.paged_cases import HUNT
from lastbit.suites.paged_hunt import hunt
from lastbit.suites.zoo import paged_faults as zoo
from lastbit.suites.zoo.collection import specimen
from lastbit.suites.zoo.paged_parts import BF16, right
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome

#: Faults that a single call with few pages cannot show.
ELSEWHERE = {"paged_attention-narrow_page_id-bf16", "paged_attention-remembers_table-bf16"}
FAULTS = [fault for fault in zoo.FAULTY if fault.name not in ELSEWHERE]
SEEDS = 2


def trial(kernel: Kernel) -> Trial:
    formats = kernel.format_sets[0]
    return Trial(kernel, formats, resolved(kernel.contract, formats), "cpu", HUNT[0], tier="standard")


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_planted_fault_is_caught_and_its_shrunk_case_replayed(fault: Faulty) -> None:
    one = trial(fault.build())
    verdicts = (hunt(replace(one, seed=seed)) for seed in range(SEEDS))
    found = next((verdict for verdict in verdicts if verdict.outcome.failed), None)
    assert found is not None
    case, seed = Case.parse(found.notes["shrunk case"]), int(found.notes["shrunk seed"])
    check = next(check for check in CHECKS if check.name == found.notes["shrunk check"])
    assert check.judge(replace(one, case=case, seed=seed)).outcome is found.outcome


def test_one_token_too_few_shrinks_to_two_tokens() -> None:
    found = hunt(trial(specimen("paged_attention-drops_last_token-bf16").build()))
    sizes = dict(Case.parse(found.notes["shrunk case"]).sizes)
    assert sizes["len"] == 2
    assert sizes["b"] == sizes["hkv"] == sizes["lq"] == 1


def test_kernel_that_supports_nothing_is_unsupported_and_not_vacuous() -> None:
    def picky(*operands: Any, **options: Any) -> Any:
        raise NotImplementedError("pages of 48 tokens only")

    verdict = hunt(trial(right("picky", picky, BF16, story="").build()))
    assert verdict.outcome is Outcome.UNSUPPORTED
    assert verdict.reason == "the kernel supports none of 60 drawn cases"
