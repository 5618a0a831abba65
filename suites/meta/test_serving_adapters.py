"""The adapters of vLLM's and SGLang's kernels over stand-ins with their signatures and layouts; no library needed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from serving_stand_ins import CASES, STAND_INS

from lastbit.kernel import Kernel
from lastbit.providers import sglang_triton, vllm_cpu, vllm_sgl, vllm_triton
from lastbit.providers.serving import Entry, Offer
from lastbit.verify import Report, verify

OFFERS = (
    *vllm_cpu.offers(True),
    *vllm_sgl.offers(True),
    *(
        offer
        for offers in (vllm_triton.offers(False), sglang_triton.offers(False))
        for offer in offers
        if not offer.missing
    ),
)


def bound(offer: Offer, put: dict[str, Callable[..., Any]] | None = None) -> Kernel:
    """The offered kernel over stand-ins, some of them replaced by `put`; asked for any size."""
    found = [(put or {}).get(entry.function, stand_in(entry)) for entry in offer.entries]
    return replace(offer.kernel, run=partial(offer.kernel.run, *found), limit=None)


def stand_in(entry: Entry) -> Callable[..., Any]:
    return STAND_INS[entry.module.rpartition(".")[2], entry.function]


def judged(kernel: Kernel) -> Report:
    return verify(kernel, tier="standard", case=CASES[kernel.op])


def named(name: str) -> Offer:
    return next(offer for offer in OFFERS if offer.kernel.name == name)


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.kernel.name)
def test_adapter_passes_what_the_library_publishes(offer: Offer) -> None:
    report = judged(bound(offer))
    assert report.passed, str(report)
    assert sum(str(record.outcome) == "pass" for record in report.records) >= 2 * len(offer.kernel.format_sets)


def faulty(fault: str) -> tuple[str, dict[str, Callable[..., Any]]]:
    """The kernel that a fault is planted in, and the function that commits it."""
    cpu, unified = (
        STAND_INS["_C", "cpu_attention_with_kv_cache"],
        STAND_INS["triton_unified_attention", "unified_attention"],
    )
    extend = STAND_INS["extend_attention", "extend_attention_fwd"]
    stored = STAND_INS["cache_ops", "launch_reshape_and_cache_flash"]

    def swapped(query: Any, key_cache: Any, value_cache: Any, *rest: Any, **more: Any) -> None:
        cpu(query, value_cache, key_cache, *rest, **more)

    def ordered(*, block_table: Any, **rest: Any) -> None:
        unified(block_table=torch.sort(block_table, 1).values, **rest)

    def narrow(*, window_size: Any, **rest: Any) -> None:
        left, right = window_size
        unified(window_size=(left - 1 if left > 0 else left, right), **rest)

    def late(*, sliding_window_size: int, **rest: Any) -> None:
        extend(sliding_window_size=sliding_window_size + 1 if sliding_window_size > 0 else -1, **rest)

    def twice(key: Any, value: Any, key_cache: Any, value_cache: Any, slots: Any) -> None:
        stored(key, key, key_cache, value_cache, slots)

    return {
        "keys and values swapped": ("vllm/cpu-paged", {"cpu_attention_with_kv_cache": swapped}),
        "table not followed": ("vllm/unified", {"unified_attention": ordered}),
        "window one key short": ("vllm/unified", {"unified_attention": narrow}),
        "window one key long": ("sglang/extend", {"extend_attention_fwd": late}),
        "keys stored as values": ("sglang/append", {"launch_reshape_and_cache_flash": twice}),
    }[fault]


@pytest.mark.parametrize(
    "fault",
    [
        "keys and values swapped",
        "table not followed",
        "window one key short",
        "window one key long",
        "keys stored as values",
    ],
)
def test_wrong_library_is_caught(fault: str) -> None:
    name, put = faulty(fault)
    assert not judged(bound(named(name), put)).passed


@pytest.mark.parametrize("name", ["vllm/unified-dense", "vllm/cpu-attention", "vllm/prefill", "sglang/prefill"])
def test_more_queries_than_keys_is_refused(name: str) -> None:
    report = verify(bound(named(name)), case="masks one_hot/batch1-hq1-hkv1-lq21-lk5-d16-dv16/causal=1")
    assert {str(record.outcome) for record in report.records} == {"unsupported"}


def test_kernels_cite_their_promises() -> None:
    names = [offer.kernel.name for offer in OFFERS]
    assert len(set(names)) == len(names) >= 24
    assert all(offer.kernel.contract.source for offer in OFFERS)


def test_bf16_is_offered_where_it_is_compiled() -> None:
    interpreted, compiled = vllm_triton.offers(False), vllm_triton.offers(True)
    assert {offer.missing[:12] for offer in interpreted if "bf16" in offer.kernel.name} == {"needs device"}
    assert not any(offer.missing for offer in compiled)
    assert {offer.kernel.devices for offer in compiled} == {("cuda",)}
