"""KV caches of Transformers as attention kernels: filled and read by a tiny model that is handed q, k and v."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from typing import Any

#: Layers of the model. All but the last get the tokens negated, so that a cache that mixes its layers up shows.
LAYERS = 2
#: Models kept: kernels that are judged on the same case share one.
MODELS = 16
#: Room of a static cache beyond its tokens, which nobody may see.
SPARE = 3
#: Tokens of each forward call of a chunked prefill, in turn.
CHUNKS = (5, 1, 16)


@dataclass(frozen=True, slots=True)
class Cached:
    """One kind of cache."""

    #: Where the library keeps it.
    layer: str
    static: bool = False
    sliding: bool = False


CACHES = {
    "dynamic_cache": Cached("DynamicLayer"),
    "static_cache": Cached("StaticLayer", static=True),
    "sliding_cache": Cached("DynamicSlidingWindowLayer", sliding=True),
    "static_sliding_cache": Cached("StaticSlidingWindowLayer", static=True, sliding=True),
}


def _all_at_once(past: int, new: int) -> Iterator[int]:
    yield past + new


def _one_by_one(past: int, new: int) -> Iterator[int]:
    if past:
        yield past
    yield from (1,) * new


def _in_chunks(past: int, new: int) -> Iterator[int]:
    left = past + new
    for size in cycle(CHUNKS):
        yield min(size, left)
        left -= min(size, left)
        if not left:
            return


#: Tokens of each forward call, for a number of tokens that precede the first query, and the number of queries.
PHASES: dict[str, Callable[[int, int], Iterable[int]]] = {
    "prefill": _all_at_once,
    "decode": _one_by_one,
    "chunked": _in_chunks,
}


def through_cache(cache: str, phase: str, attention: str) -> Callable[..., Any]:
    """Attention over what a cache holds, its tokens handed to the model as the phase does it.

    Queries are the last tokens of their sequence. A call that is not causal becomes a batch of sequences, one for each
    query, as their last token.
    """

    def run(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
        left = _window(keywords)
        if left is None and not keywords.get("causal", False):
            return _unfolded(_attend(cache, phase, attention, *_folded(q, k, v), None, keywords.get("scale")), q)
        if q.shape[2] > k.shape[2]:
            raise NotImplementedError("a cache holds at least the tokens of the queries")
        return _attend(cache, phase, attention, q, k, v, left, keywords.get("scale"))

    return run


def _window(keywords: dict[str, Any]) -> int | None:
    """How many tokens before its own a query sees, or None: all."""
    window = keywords.get("window")
    if window is None:
        return None
    left, right = window
    if right != 0 and not keywords.get("causal", False):
        raise NotImplementedError("a decoder sees no later tokens")
    return None if left < 0 else int(left)


def _folded(q: Any, k: Any, v: Any) -> tuple[Any, Any, Any]:
    """Every query as a sequence of its own: q (b lq, hq, 1, d), k and v (b lq, hkv, lk, d)."""
    rows = q.transpose(1, 2).flatten(0, 1).unsqueeze(2)
    return rows, k.repeat_interleave(q.shape[2], 0), v.repeat_interleave(q.shape[2], 0)


def _unfolded(out: Any, q: Any) -> Any:
    return out.unflatten(0, (q.shape[0], q.shape[2])).squeeze(3).transpose(1, 2)


def _attend(
    cache: str, phase: str, attention: str, q: Any, k: Any, v: Any, left: int | None, scale: float | None
) -> Any:
    """What the last layer's attention gives for the queries, after a model worked through all tokens."""
    import torch

    kind, (batch, hq, lq, d), (_, hkv, lk, _) = CACHES[cache], q.shape, k.shape
    if d % 2:
        raise NotImplementedError("Transformers' decoders refuse an odd head size")
    window = (lk + SPARE if left is None else left + 1) if kind.sliding else None
    model = _model(hq, hkv, d, attention, window, q.dtype, q.device)
    model.layers[-1].self_attn.scaling = d**-0.5 if scale is None else scale
    past = lk - lq
    tokens = _Tokens(torch.cat([q.new_zeros(batch, hq, past, d), q], 2), k, v)
    store = _cache(kind, model.config, lk + SPARE)
    with torch.no_grad(), tokens.handed_to(model):
        for count in PHASES[phase](past, lq):
            tokens.forward(model, store, count)
    return torch.cat(tokens.given, 1)[:, past:].unflatten(2, (hq, -1)).transpose(1, 2)


class _Tokens:
    """Queries, keys and values that a model's attention layers are handed, and what its last layer gave for them."""

    def __init__(self, *projected: Any) -> None:
        self.given: list[Any] = []
        self._projected = projected
        self._now = slice(0, 0)

    @contextmanager
    def handed_to(self, model: Any) -> Iterator[None]:
        """The projections of every layer give these tokens, and the last layer's output is kept."""
        last = model.layers[-1].self_attn
        hooks = [last.o_proj.register_forward_pre_hook(lambda module, args: self.given.append(args[0]))]
        for attention in (layer.self_attn for layer in model.layers):
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            for projection, x in zip(projections, self._projected, strict=True):
                own = x if attention is last else -x
                hooks.append(projection.register_forward_hook(self._replaced(own.transpose(1, 2).flatten(2))))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def forward(self, model: Any, cache: Any, count: int) -> None:
        """The model's forward call for the next `count` tokens."""
        self._now = slice(self._now.stop, self._now.stop + count)
        embedded = self._projected[0].new_zeros(len(self._projected[0]), count, model.config.hidden_size)
        model(inputs_embeds=embedded, past_key_values=cache, use_cache=True)

    def _replaced(self, tokens: Any) -> Callable[..., Any]:
        return lambda module, args, output: tokens[:, self._now]


@lru_cache(maxsize=MODELS)
def _model(hq: int, hkv: int, d: int, attention: str, window: int | None, dtype: Any, device: Any) -> Any:
    """A decoder without rotary embeddings, which would change q and k: SmolLM3 with no_rope_layers."""
    import torch
    from transformers.models.smollm3.modeling_smollm3 import SmolLM3Config, SmolLM3Model

    config = SmolLM3Config(
        vocab_size=2,
        hidden_size=2,
        intermediate_size=1,
        num_hidden_layers=LAYERS,
        num_attention_heads=hq,
        num_key_value_heads=hkv,
        head_dim=d,
        no_rope_layers=[0] * LAYERS,
        use_sliding_window=window is not None,
        sliding_window=window,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=()):  # its weights are random, and multiply nothing
        return SmolLM3Model(config).eval().to(device, dtype)


def _cache(kind: Cached, config: Any, room: int) -> Any:
    from transformers.cache_utils import DynamicCache, StaticCache

    return StaticCache(config=config, max_cache_len=room) if kind.static else DynamicCache(config=config)
