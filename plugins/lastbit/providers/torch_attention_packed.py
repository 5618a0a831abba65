"""PyTorch's ways with packed batches: flex_attention under a document mask, and nested tensors of sequences."""

from collections.abc import Callable
from typing import Any


def document_mask(
    cu_seqlens_q: Any, cu_seqlens_k: Any, q: Any, k: Any, *, causal: bool = False, window: Any = None
) -> Callable[..., Any]:
    """The mask_mod that keeps a sequence's own keys, causal and window from its own bottom-right corner."""
    import torch

    ids, places = zip(*(_documents(cu, x.shape[2]) for cu, x in ((cu_seqlens_q, q), (cu_seqlens_k, k))), strict=True)
    lengths = [torch.diff(cu.long()) for cu in (cu_seqlens_q, cu_seqlens_k)]
    shift = (lengths[1] - lengths[0])[ids[0]]

    def keep(b: Any, h: Any, i: Any, j: Any) -> Any:
        kept = ids[0][i] == ids[1][j]
        distance = places[0][i] + shift[i] - places[1][j]
        if causal:
            kept = kept & (distance >= 0)
        for side, beyond in zip(window or (), (distance, -distance), strict=False):
            kept = kept & (beyond <= side) if side >= 0 else kept
        return kept

    return keep


def nested(q: Any, k: Any, v: Any, *, cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, scale: Any = None) -> Any:
    """scaled_dot_product_attention of nested tensors: of the sequences of a packed batch, else of a plain batch."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    b, heads, lq = q.shape[:3]
    if cu_seqlens_q is None:
        cu_seqlens_q, cu_seqlens_k = (torch.arange(b + 1, device=q.device) * length for length in (lq, k.shape[2]))
    rows, keys, values = (_jagged(x, cu) for x, cu in ((q, cu_seqlens_q), (k, cu_seqlens_k), (v, cu_seqlens_k)))
    try:
        out = scaled_dot_product_attention(rows, keys, values, scale=scale).transpose(1, 2).values()
    except RuntimeError as error:
        if "No viable backend" in str(error):
            raise NotImplementedError("no backend takes these nested tensors") from error
        raise
    return out.reshape(b, lq, heads, v.shape[3]).transpose(1, 2)


def _jagged(x: Any, cu: Any) -> Any:
    """The sequences of x (b, h, length, d) that end at `cu`, as a nested tensor (sequences, h, *, d)."""
    import torch

    rows = x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3]).contiguous()
    return torch.nested.nested_tensor_from_jagged(rows, cu.long()).transpose(1, 2)


def _documents(cu: Any, total: int) -> tuple[Any, Any]:
    """Of each position of a packed axis: its sequence's number, and its place in that."""
    import torch

    at = torch.arange(total, device=cu.device)
    number = torch.bucketize(at, cu[1:].long(), right=True)
    return number, at - cu.long()[number]
