"""The attention functions of Transformers as attention kernels: eager, sdpa and flex_attention, with its own masks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Layer:
    """What the attention functions read of the attention module that calls them."""

    num_key_value_groups: int
    is_causal: bool = False
    training: bool = False


def eager(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """The eager attention that most decoders copy."""
    from transformers.models.llama.modeling_llama import eager_attention_forward

    return _eager(eager_attention_forward, q, k, v, keywords)


def eager_softcap(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """The eager attention of models that cap their scores."""
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    return _eager(eager_attention_forward, q, k, v, keywords)


def sdpa(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """The function behind attn_implementation="sdpa"."""
    bias = keywords.get("bias")
    mask = _mask("sdpa", q, k, keywords)
    if bias is not None and mask is not None and not _all_rows(mask):
        raise NotImplementedError(f"a row without keys: {UNSTATED}")
    # Without a mask, the function takes what it has from the module for causal.
    causal = bool(keywords.get("causal", False)) and mask is None
    return _call("sdpa", q, k, v, mask, keywords, position_bias=bias, is_causal=causal)


def flex(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """The function behind attn_implementation="flex_attention", which it compiles, run uncompiled."""
    with _uncompiled():
        return flex_compiled(q, k, v, **keywords)


def flex_compiled(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """The function behind attn_implementation="flex_attention"."""
    bias = keywords.get("bias")
    added = {} if bias is None else {"position_bias": bias.expand(q.shape[0], *bias.shape[1:])}
    mask = _mask("flex_attention", q, k, keywords)
    return _call("flex_attention", q, k, v, mask, keywords, softcap=keywords.get("softcap"), **added)


#: Why rows without keys are left out where masked scores are only very low.
UNSTATED = "masked scores get the lowest number, so that it is a mean of all values, which no contract states"


def _eager(function: Callable[..., Any], q: Any, k: Any, v: Any, keywords: dict[str, Any]) -> Any:
    mask = _mask("eager", q, k, keywords)
    bias = keywords.get("bias")
    mask = bias if mask is None else mask
    scale = keywords.get("scale")
    out, _ = function(
        Layer(q.shape[1] // k.shape[1]),
        q,
        k,
        v,
        mask,
        scaling=q.shape[-1] ** -0.5 if scale is None else scale,
        softcap=keywords.get("softcap"),
    )
    return out.transpose(1, 2)


def _call(name: str, q: Any, k: Any, v: Any, mask: Any, keywords: dict[str, Any], **further: Any) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    layer = Layer(q.shape[1] // k.shape[1])
    out, _ = ALL_ATTENTION_FUNCTIONS[name](layer, q, k, v, mask, scaling=keywords.get("scale"), **further)
    return out.transpose(1, 2)


def _mask(name: str, q: Any, k: Any, keywords: dict[str, Any]) -> Any:
    """The mask that the library makes for this attention function, or the given one that is added; None: no mask."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    given, lq, lk = keywords.get("mask"), q.shape[2], k.shape[2]
    added = given is not None and given.dtype.is_floating_point
    keep = _kept(None if added else given, lk - lq, keywords.get("causal", False), keywords.get("window"))
    if added and keep is not None:
        raise NotImplementedError(f"{name} takes one mask, added to the scores or made by the library")
    if keep is None:
        return given
    mask = ALL_MASK_ATTENTION_FUNCTIONS[name](
        batch_size=q.shape[0],
        q_length=lq,
        kv_length=lk,
        q_offset=lk - lq,
        mask_function=keep,
        # The library skips masks that are causal and nothing else.
        allow_is_causal_skip=given is None and keywords.get("window") is None,
        dtype=q.dtype,
        device=q.device,
    )
    if name == "eager" and not _all_rows(mask == 0):
        raise NotImplementedError(f"a row without keys: {UNSTATED}")
    return mask


def _kept(mask: Any, offset: int, causal: bool, window: tuple[int, int] | None) -> Callable[..., Any] | None:
    """Causal, window and a boolean mask as one function of positions, the first query's being `offset`; None: all."""
    from transformers.masking_utils import and_masks, causal_mask_function, sliding_window_overlay

    left, right = window or (-1, -1)
    parts: list[Callable[..., Any]] = [causal_mask_function] if causal else []
    if left >= 0:
        parts.append(sliding_window_overlay(left + 1))
    if right >= 0:
        parts.append(lambda batch, head, q, kv: kv <= q + right)
    if mask is not None:
        parts.append(lambda batch, head, q, kv: mask[batch, 0, q - offset, kv])
    return parts[0] if len(parts) == 1 else and_masks(*parts) if parts else None


def _all_rows(mask: Any) -> bool:
    """Whether every query has a key."""
    return bool(mask.any(-1).all())


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Functions that were compiled run as they were written, and flex_attention does not trace itself."""
    import torch
    from torch.nn.attention import flex_attention as module

    # PyTorch's switch for debugging, without which flex_attention traces itself anew for each shape.
    switch = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"
    before = getattr(module, switch, False)
    try:
        setattr(module, switch, True)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        setattr(module, switch, before)
