"""Faults planted in Transformers' caches, masks and attention functions are caught, each by the checks named."""

import pytest

from lastbit.suites.attention import CHECKS
from lastbit.verdict import Outcome
from lastbit.verify import verify

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("torch", reason="PyTorch is not installed")

import faulty_transformers as faulty

from lastbit.providers.transformers import kernels

SMOKE = {check.name: [case.id for case in check.cases if case.tier == "smoke"] for check in CHECKS}
KERNELS = {kernel.name: kernel for kernel in kernels()}

#: What is planted, where, the kernel that runs into it, and the checks that have to fail.
FAULTS: tuple[tuple[str, faulty.Plant, str, str], ...] = (
    ("newest token dropped", faulty.newest_dropped, "dynamic_cache_decode", "exact decode"),
    ("values stale", faulty.values_stale, "static_cache_decode", "exact decode"),
    ("position late", faulty.position_late, "static_cache_decode", "exact decode"),
    ("position late", faulty.position_late, "static_cache_chunked", "exact"),
    ("layers mixed", faulty.layers_mixed, "dynamic_cache_decode", "exact"),
    ("window short", faulty.window_short, "sliding_cache_decode", "masks"),
    ("faulty.diagonal late", faulty.diagonal(1), "dynamic_cache_chunked", "masks decode"),
    ("faulty.diagonal late", faulty.diagonal(1), "static_cache_decode", "masks"),
    ("faulty.diagonal early", faulty.diagonal(-1), "static_cache_decode", "masks"),
    ("faulty.diagonal early", faulty.diagonal(-1), "eager", "masks decode"),
    ("window wide", faulty.window_wide, "sliding_cache_prefill", "masks"),
    ("heads tiled", faulty.heads_tiled, "static_cache_chunked", "features"),
    ("heads tiled", faulty.heads_tiled, "eager", "features exact"),
    ("heads packed", faulty.heads_packed, "static_cache_decode", "features"),
    ("scale squared", faulty.scale_squared, "dynamic_cache_prefill", "bound second_call"),
    ("scores in bf16", faulty.bf16_scores, "eager", "bound"),
)


@pytest.mark.parametrize(
    ("plant", "kernel", "checks"), [row[1:] for row in FAULTS], ids=[f"{row[0]}-{row[2]}" for row in FAULTS]
)
def test_fault_in_transformers_is_caught_by_name(
    plant: faulty.Plant, kernel: str, checks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    cases = [f"{check} {case}" for check in checks.split() for case in SMOKE[check]]
    report = verify(KERNELS[f"transformers/{kernel}"], tier="smoke", seed=3, case=cases)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == set(checks.split())
    assert Outcome.CRASHED not in {finding.outcome for finding in report.findings}


@pytest.mark.parametrize(
    ("plant", "checks"),
    [
        (faulty.codes_unscaled, {"exact", "bound"}),
        (faulty.codes_in_bf16, {"bound"}),
        (faulty.newest_code_lost, {"exact", "bound"}),
        (faulty.scale_squared, {"bound"}),
    ],
)
def test_fault_in_fp8_cache_is_caught_by_name(
    plant: faulty.Plant, checks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    report = verify(KERNELS["transformers/fp8_cache_decode"], tier="smoke", seed=3)
    assert {finding.check for finding in report.findings if finding.outcome.failed} == checks
