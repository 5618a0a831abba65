"""Faults planted in Transformers' caches, masks and attention functions are caught, each by the checks named."""

from collections.abc import Callable
from typing import Any

import pytest

from lastbit.suites.attention import CHECKS
from lastbit.verdict import Outcome
from lastbit.verify import verify

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from transformers import cache_utils, masking_utils
from transformers.integrations import sdpa_attention
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama import modeling_llama

from lastbit.providers.transformers import kernels

SMOKE = {check.name: [case.id for case in check.cases if case.tier == "smoke"] for check in CHECKS}
KERNELS = {kernel.name: kernel for kernel in kernels()}
Plant = Callable[[pytest.MonkeyPatch], None]


def newest_dropped(patch: pytest.MonkeyPatch) -> None:
    """The token that was just appended is not among those that the cache returns."""
    update = cache_utils.DynamicLayer.update

    def wrong(self: Any, *states: Any, **more: Any) -> Any:
        keys, values = update(self, *states, **more)
        few = keys.shape[-2] < 2
        return (keys, values) if few else (keys[..., :-1, :], values[..., :-1, :])

    patch.setattr(cache_utils.DynamicLayer, "update", wrong)


def values_stale(patch: pytest.MonkeyPatch) -> None:
    """The cache returns the values that it held before this token was written."""
    update = cache_utils.StaticLayer.update

    def wrong(self: Any, *states: Any, **more: Any) -> Any:
        held = self.values.clone() if self.is_initialized else None
        keys, values = update(self, *states, **more)
        return keys, values if held is None else held

    patch.setattr(cache_utils.StaticLayer, "update", wrong)


def position_late(patch: pytest.MonkeyPatch) -> None:
    """Every token but the first ones is written over the one before it."""
    update = cache_utils.StaticLayer.update

    def wrong(self: Any, *states: Any, **more: Any) -> Any:
        late = self.is_initialized and int(self.cumulative_length) > 0
        if late:
            self.cumulative_length -= 1
        found = update(self, *states, **more)
        if late:
            self.cumulative_length += 1
        return found

    patch.setattr(cache_utils.StaticLayer, "update", wrong)


def layers_mixed(patch: pytest.MonkeyPatch) -> None:
    """Tokens of every layer are kept in the first layer's place."""

    def wrong(self: Any, keys: Any, values: Any, layer: int, *rest: Any, **more: Any) -> Any:
        return self.layers[0].update(keys, values, *rest, **more)

    patch.setattr(cache_utils.Cache, "update", wrong)


def window_short(patch: pytest.MonkeyPatch) -> None:
    """The sliding cache forgets its oldest token, and puts a copy of the next one there."""
    update = cache_utils.DynamicSlidingWindowLayer.update

    def wrong(self: Any, *states: Any, **more: Any) -> Any:
        found = update(self, *states, **more)
        if self.keys.shape[-2] > 1:
            self.keys, self.values = (torch.cat([x[..., 1:2, :], x[..., 1:, :]], 2) for x in (self.keys, self.values))
        return found

    patch.setattr(cache_utils.DynamicSlidingWindowLayer, "update", wrong)


def diagonal(shift: int) -> Plant:
    """The causal mask keeps a key too many, or too few."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(masking_utils, "causal_mask_function", lambda b, h, q, kv: kv <= q + shift)

    return plant


def window_wide(patch: pytest.MonkeyPatch) -> None:
    """The sliding window keeps a key too many."""
    patch.setattr(masking_utils, "sliding_window_overlay", lambda size: lambda b, h, q, kv: kv >= q - size)


def heads_tiled(patch: pytest.MonkeyPatch) -> None:
    """Query head h reads key head h mod hkv."""
    for module in (sdpa_attention, modeling_llama):
        patch.setattr(module, "repeat_kv", lambda x, count: x.repeat(1, count, 1, 1))


def heads_packed(patch: pytest.MonkeyPatch) -> None:
    """Query heads of a decode step are packed by the wrong stride."""

    def wrong(x: Any, count: int) -> Any:
        if x is None or x.shape[1] == 1:
            return x
        return x.reshape(x.shape[0], count, x.shape[1] // count, x.shape[3]).transpose(1, 2)

    patch.setattr(sdpa_attention, "pack_gqa", wrong)


def scale_squared(patch: pytest.MonkeyPatch) -> None:
    """Scores are scaled twice."""
    right = sdpa_attention.sdpa_attention_forward

    def wrong(*operands: Any, scaling: float | None = None, **more: Any) -> Any:
        return right(*operands, scaling=None if scaling is None else scaling**2, **more)

    patch.setitem(AttentionInterface._global_mapping, "sdpa", wrong)


def bf16_scores(patch: pytest.MonkeyPatch) -> None:
    """Eager attention in f32 rounds its scores to bf16 before the softmax."""
    softmax = torch.nn.functional.softmax
    patch.setattr(torch.nn.functional, "softmax", lambda x, **more: softmax(x.bfloat16().float(), **more))


#: What is planted, where, the kernel that runs into it, and the checks that have to fail.
FAULTS: tuple[tuple[str, Plant, str, str], ...] = (
    ("newest token dropped", newest_dropped, "dynamic_cache_decode", "exact decode"),
    ("values stale", values_stale, "static_cache_decode", "exact decode"),
    ("position late", position_late, "static_cache_decode", "exact decode"),
    ("position late", position_late, "static_cache_chunked", "exact"),
    ("layers mixed", layers_mixed, "dynamic_cache_decode", "exact"),
    ("window short", window_short, "sliding_cache_decode", "masks"),
    ("diagonal late", diagonal(1), "dynamic_cache_chunked", "masks decode"),
    ("diagonal late", diagonal(1), "static_cache_decode", "masks"),
    ("diagonal early", diagonal(-1), "static_cache_decode", "masks"),
    ("diagonal early", diagonal(-1), "eager", "masks decode"),
    ("window wide", window_wide, "sliding_cache_prefill", "masks"),
    ("heads tiled", heads_tiled, "static_cache_chunked", "features"),
    ("heads tiled", heads_tiled, "eager", "features exact"),
    ("heads packed", heads_packed, "static_cache_decode", "features"),
    ("scale squared", scale_squared, "dynamic_cache_prefill", "bound second_call"),
    ("scores in bf16", bf16_scores, "eager", "bound"),
)


@pytest.mark.parametrize(
    ("plant", "kernel", "checks"), [row[1:] for row in FAULTS], ids=[f"{row[0]}-{row[2]}" for row in FAULTS]
)
def test_fault_in_transformers_is_caught_by_name(
    plant: Plant, kernel: str, checks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    cases = [f"{check} {case}" for check in checks.split() for case in SMOKE[check]]
    report = verify(KERNELS[f"transformers/{kernel}"], tier="smoke", seed=3, case=cases)
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing == set(checks.split())
    assert Outcome.CRASHED not in {finding.outcome for finding in report.findings}
