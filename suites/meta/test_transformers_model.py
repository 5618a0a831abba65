"""A tiny model with random weights: every layer's attention is right to its budget, in prefill, decode and padded."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from lastbit.attention_budget import budget
from lastbit.contract import Contract, resolved
from lastbit.references.attention import attention_truth
from lastbit.references.attention_mask import Problem
from lastbit.verdict import Outcome

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("torch", reason="PyTorch is not installed")

import faulty_transformers as faulty
import torch
from recorded_attention import LAYERS, WORDS, Record, judged, recorded, tiny
from transformers import DynamicCache, StaticCache

from lastbit.providers.transformers import kernels

KERNELS = {kernel.name.partition("/")[2]: kernel for kernel in kernels()}
CACHES = ("dynamic", "static")
TOKENS = 13
ONES = (1,) * TOKENS
SEED = 5


def contract(attention: str, fmt: str) -> Contract:
    return KERNELS[attention if fmt == "f32" else f"{attention}-{fmt}"].contract


def words(batch: int) -> Any:
    return torch.arange(3, 3 + batch * TOKENS).view(batch, TOKENS) * 7 % WORDS


def cache(kind: str, config: Any) -> Any:
    return DynamicCache(config=config) if kind == "dynamic" else StaticCache(config=config, max_cache_len=TOKENS + 2)


def run(attention: str, fmt: str, kind: str, parts: tuple[int, ...], padding: tuple[int, ...] = ()) -> Record:
    """What a model does with its tokens in parts of these sizes, one cache for all."""
    tokens = words(max(1, len(padding)))
    keep = (torch.arange(TOKENS) >= torch.tensor(padding)[:, None]).long() if padding else None
    with recorded() as record:
        model, start = tiny(attention, fmt, SEED), 0
        store = cache(kind, model.config)
        for count in parts:
            end = start + count
            mask = None if keep is None else keep[:, :end]
            model(tokens[:, start:end], attention_mask=mask, past_key_values=store, use_cache=True)
            start = end
    return record


def verdicts(record: Record, attention: str, fmt: str, padding: tuple[int, ...] = ()) -> Counter[Outcome]:
    """How every call of every layer is judged, keys and values being those that the cache was given."""
    found: Counter[Outcome] = Counter()
    seen = [0] * LAYERS
    for call in record.calls:
        seen[call.layer] += call.q.shape[2]
        k, v = record.tokens(call.layer, seen[call.layer])
        found.update(v.outcome for v in judged(call, k, v, fmt, contract(attention, fmt), padding))
    return found


@pytest.mark.parametrize("fmt", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("parts", [(TOKENS,), ONES, (4, 1, TOKENS - 5)], ids=["prefill", "decode", "chunked"])
@pytest.mark.parametrize("kind", CACHES)
def test_every_layer_is_within_its_budget(kind: str, parts: tuple[int, ...], attention: str, fmt: str) -> None:
    found = verdicts(run(attention, fmt, kind, parts), attention, fmt)
    assert found == {Outcome.PASS: LAYERS * len(parts)}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("parts", [(TOKENS,), (7, *ONES[:6])], ids=["prefill", "decode"])
def test_padded_sequence_is_as_it_would_be_alone(parts: tuple[int, ...], kind: str, attention: str) -> None:
    """A batch of two, the second sequence padded at its start: by the truth of its own tokens alone."""
    padding = (0, 4)
    found = verdicts(run(attention, "f32", kind, parts, padding), attention, "f32", padding)
    assert found == {Outcome.PASS: LAYERS * len(parts) * len(padding)}


@pytest.mark.parametrize(
    ("plant", "kind", "parts", "padding"),
    [
        (faulty.newest_dropped, "dynamic", ONES, ()),
        (faulty.values_stale, "static", ONES, ()),
        (faulty.position_late, "static", ONES, ()),
        (faulty.layers_mixed, "dynamic", ONES, ()),
        (faulty.diagonal(1), "static", ONES, ()),
        (faulty.diagonal(-1), "dynamic", (4, 9), ()),
        (faulty.heads_tiled, "dynamic", (4, 9), ()),
        (faulty.padding_seen, "dynamic", (TOKENS,), (0, 4)),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_fault_shows_in_a_layer(
    plant: faulty.Plant, kind: str, parts: tuple[int, ...], padding: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    found = verdicts(run("sdpa", "f32", kind, parts, padding), "sdpa", "f32", padding)
    assert found[Outcome.OVER_BUDGET] > 0
    assert set(found) <= {Outcome.PASS, Outcome.OVER_BUDGET}


@pytest.mark.parametrize("kind", ["dynamic", "static", "sliding", "static_sliding"])
def test_phases_agree_within_their_budgets(kind: str) -> None:
    """The same tokens in one call, in chunks and one by one: what two of them differ by is what both may be off by."""
    rng = np.random.default_rng(SEED)
    drawn = [np.float32(rng.standard_normal((2, heads, 11, 20))) for heads in (6, 2, 2)]
    q, k, v = (torch.from_numpy(x) for x in drawn)
    posed = Problem(*map(np.float64, drawn), causal=True)
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    outs = []
    for phase in ("prefill", "chunked", "decode"):
        name = f"{kind}_cache_{phase}"
        outs.append(np.float64(KERNELS[name].run(q, k, v, causal=True).numpy()))
        allowed, _ = budget(resolved(KERNELS[name].contract, formats), formats, posed, attention_truth(posed))
    for one, other in combinations(outs, 2):
        assert (np.abs(one - other) <= 2 * allowed.allowed).all()
        assert (np.abs(one - np.roll(other, 1, 2)) > 2 * allowed.allowed).any()
