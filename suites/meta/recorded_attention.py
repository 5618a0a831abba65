"""A tiny model of Transformers that tells what reaches its caches and its attention, and the law for one such call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel
from transformers.cache_utils import Cache
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama.modeling_llama import eager_attention_forward

from lastbit import arrays
from lastbit.attention_budget import budget
from lastbit.contract import Contract, resolved
from lastbit.judge import judge
from lastbit.references.attention import attention_truth
from lastbit.references.attention_mask import Problem
from lastbit.references.formats import Format
from lastbit.vacuity import vacuity
from lastbit.verdict import Outcome, Verdict

LAYERS, HEADS, KEY_HEADS, SIZE, WORDS = 2, 6, 2, 20, 11
#: Sharp logits, and a softmax that is neither one-hot nor uniform.
SPREAD = 0.4
DTYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Call:
    """What one layer's attention function was called with, (batch, heads, tokens, size), and what it gave."""

    layer: int
    q: Any
    k: Any
    v: Any
    out: Any


@dataclass(frozen=True, slots=True)
class Record:
    """What a model did, in order."""

    calls: list[Call] = field(default_factory=list)
    #: (layer, k, v) of each update of a cache: the new tokens alone, as the model made them.
    appended: list[tuple[int, Any, Any]] = field(default_factory=list)

    def tokens(self, layer: int, count: int) -> tuple[Any, Any]:
        """The first `count` keys and values that the layer's cache was given, whatever became of them."""
        k, v = (torch.cat([row[i] for row in self.appended if row[0] == layer], 2)[:, :, :count] for i in (1, 2))
        return k, v


def tiny(attention: str, fmt: str, seed: int) -> Any:
    """A Llama of two layers with random weights, whose query heads share key heads by threes."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=24,
        intermediate_size=8,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        head_dim=SIZE,
        initializer_range=SPREAD,
        attn_implementation=f"recorded_{attention}",
    )
    return LlamaModel(config).eval().to(DTYPES[fmt])


@contextmanager
def recorded() -> Iterator[Record]:
    """Models that `tiny` makes meanwhile tell here what they do."""
    record = Record()
    functions = {"eager": (eager_attention_forward, eager_mask), "sdpa": (AttentionInterface()["sdpa"], sdpa_mask)}
    for name, (function, mask) in functions.items():
        AttentionInterface.register(f"recorded_{name}", _recording(record, function))
        AttentionMaskInterface.register(f"recorded_{name}", mask)
    update = Cache.update

    def told(self: Any, k: Any, v: Any, layer: int, *rest: Any, **more: Any) -> Any:
        record.appended.append((layer, k.clone(), v.clone()))
        return update(self, k, v, layer, *rest, **more)

    Cache.update = told
    try:
        with torch.no_grad():
            yield record
    finally:
        Cache.update = update


def _recording(record: Record, function: Any) -> Any:
    def run(module: Any, q: Any, k: Any, v: Any, mask: Any, **more: Any) -> Any:
        out, weights = function(module, q, k, v, mask, **more)
        record.calls.append(Call(module.layer_idx, q.clone(), k.clone(), v.clone(), out.transpose(1, 2).clone()))
        return out, weights

    return run


def judged(call: Call, k: Any, v: Any, fmt: str, contract: Contract, starts: tuple[int, ...] = ()) -> list[Verdict]:
    """The verdict on each sequence of a call, whose queries are the last tokens of k and v; truth by these k and v.

    `starts` says where each sequence begins: tokens before are padding, as keys unseen and as queries not judged.
    """
    return [_sequence(call, k, v, fmt, contract, b, start) for b, start in enumerate(starts or (0,) * len(call.q))]


def _sequence(call: Call, k: Any, v: Any, fmt: str, contract: Contract, b: int, start: int) -> Verdict:
    formats = dict.fromkeys(("q", "k", "v", "out"), fmt)
    chosen = resolved(contract, formats)
    real = max(0, start - (k.shape[2] - call.q.shape[2]))
    q, k, v = call.q[b : b + 1, :, real:], k[b : b + 1, :, start:], v[b : b + 1, :, start:]
    posed = Problem(values(q, fmt), values(k, fmt), values(v, fmt), causal=True)
    truth = attention_truth(posed)
    allowed, _ = budget(chosen, formats, posed, truth)
    codes, out = arrays.of("torch").codes(call.out[b : b + 1, :, real:].contiguous(), fmt), Format.of(fmt)
    verdict = judge(codes, out, truth.out, allowed, chosen)
    hole = vacuity(out, truth.out, allowed, chosen) if verdict.outcome is Outcome.PASS else ""
    return Verdict(Outcome.VACUOUS, hole) if hole else verdict


def values(x: Any, fmt: str) -> Any:
    """A tensor's values in float64."""
    return Format.of(fmt).decode(arrays.of("torch").codes(x.contiguous(), fmt))
