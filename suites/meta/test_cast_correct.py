"""Casts that are right are never flagged, whatever bits they are made of, under twenty seeds."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.suites.zoo import cast_parts as parts
from lastbit.suites.zoo.cast_variants import VARIANTS
from lastbit.suites.zoo.specimen import Variant
from lastbit.verdict import Outcome
from lastbit.verify import verify

SEEDS = 20


def judge(variant: Variant, seed: int, tier: str = "smoke") -> None:
    report = verify(variant.build(), tier=tier, seed=seed)
    assert [finding for finding in report.findings if finding.outcome.failed] == []
    assert report.passed
    assert Outcome.VACUOUS not in {record.outcome for record in report.records}


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_correct_kernel_is_not_flagged(variant: Variant) -> None:
    judge(variant, seed=0, tier="standard")
    judge(variant, seed=1)


def test_payloads_of_nan_are_no_memory_left_unwritten() -> None:
    """A NaN of f32 whose payload is carried over can be the f16 that fresh memory is filled with."""
    from lastbit.case import Case, Trial
    from lastbit.harness import call
    from lastbit.references.data import Operand

    codes = np.array([0xFFDF_C000, 0xFFDF_DFFF, 0x3F80_0000], np.uint32)
    kernel = parts.kernel("f16", lambda x: x.astype(np.float16), parts.pair("f32", "f16"), parts.PLAIN)
    trial = Trial(kernel, kernel.format_sets[0], kernel.contract, "cpu", Case("specials", (("n", 3),)))
    got = call(trial, {"x": Operand("f32", codes, codes.view(np.float32).astype(np.float64))})
    assert got.codes[:2].tolist() == [0xFEFE, 0xFEFE]
    assert got.fault is None
    lazy = parts.kernel("lazy", lambda x: np.empty(x.shape, np.float16), parts.pair("f32", "f16"), parts.PLAIN)
    plain = {"x": Operand("f32", codes[2:], np.ones(1))}
    assert call(replace(trial, kernel=lazy), plain).fault is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, SEEDS))
def test_correct_kernels_are_not_flagged_under_other_seeds(seed: int) -> None:
    for variant in VARIANTS:
        judge(variant, seed)
