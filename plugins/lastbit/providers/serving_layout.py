"""How lastbit's operands become those of serving kernels: flat queries, token slots, padded heads, windows."""

from typing import Any


def flat(q: Any) -> Any:
    """(b, hq, lq, d) as (b * lq, hq, d) with unit stride along d, sequence after sequence; a view where it can be."""
    tokens = q.transpose(1, 2).flatten(0, 1)
    return tokens if tokens.stride(-1) == 1 else tokens.contiguous()


def unflat(out: Any, lq: int) -> Any:
    """(b * lq, hq, dv) as (b, hq, lq, dv)."""
    return out.unflatten(0, (-1, lq)).transpose(1, 2).contiguous()


def starts(count: int, length: int, device: Any) -> Any:
    """Where each of `count` sequences of `length` queries begins, and where the last one ends: (count + 1,) i32."""
    import torch

    return torch.arange(0, (count + 1) * length, max(length, 1), dtype=torch.int32, device=device)[: count + 1]


def slots(block_table: Any, block: int) -> Any:
    """The place of each token of each sequence in a cache of (pages * block) places: (b, most pages * block) i64."""
    import torch

    within = torch.arange(block, device=block_table.device)
    return (block_table.long()[..., None] * block + within).flatten(1)


def ragged(rows: Any, lengths: Any) -> tuple[Any, Any]:
    """The first `lengths[i]` entries of each row one after the other (i64), and where each row begins (i32)."""
    import torch

    parts = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
    ends = torch.cumsum(lengths, 0).int()
    return torch.cat(parts).long(), torch.cat([ends.new_zeros(1), ends])


def last_tokens(cache: Any, places: Any, lengths: Any, count: int) -> Any:
    """The last `count` tokens of each sequence, (b * count, hkv, d), from a cache of (pages, block, hkv, d).

    `places` are those of `slots`.
    """
    import torch

    ends = torch.arange(-count, 0, device=lengths.device) + lengths.long()[:, None]
    return cache.flatten(0, 1)[places.gather(1, ends).flatten()].contiguous()


def dense_batch(
    q: Any, k: Any, v: Any, page: int, cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, *, aligned: bool
) -> tuple[tuple[Any, Any, Any, Any], Any]:
    """Keys and values (b, hkv, lk, d) in pages of their own, the table and the lengths; and where the queries begin.

    With cumulative lengths it is a packed batch, b = 1. The last pages come first; places without a token hold zeros.
    Raises NotImplementedError for queries without keys, and, where they are aligned with the keys, for more than keys.
    """
    import torch

    if cu_seqlens_q is None:
        cu_seqlens_q, cu_seqlens_k = (starts(x.shape[0], x.shape[2], x.device) for x in (q, k))
        k, v = (x.transpose(0, 1).flatten(1, 2)[None] for x in (k, v))
    queries, counts = (torch.diff(ends).tolist() for ends in (cu_seqlens_q, cu_seqlens_k))
    if any(m > n and (aligned or not n) for m, n in zip(queries, counts, strict=True)):
        raise NotImplementedError("the queries are tokens of their sequence: there are no more of them than keys")
    held = [-(-n // page) for n in counts]
    table = torch.zeros((len(held), max(held)), dtype=torch.int32, device=k.device)
    caches = [x.new_zeros((sum(held), page, x.shape[1], x.shape[3])) for x in (k, v)]
    last = sum(held)
    for row, (first, n, several) in enumerate(zip(cu_seqlens_k.tolist(), counts, held, strict=False)):
        last -= several
        table[row, :several] = torch.arange(last, last + several)
        for x, cache in zip((k, v), caches, strict=True):
            cache[last : last + several].flatten(0, 1)[:n] = x[0, :, first : first + n].transpose(0, 1)
    return (*caches, table, torch.diff(cu_seqlens_k)), cu_seqlens_q.contiguous()


def widened(x: Any, size: int) -> Any:
    """`x` with zeros after its last axis up to `size`: no product and no sum of an attention changes."""
    import torch

    return x if x.shape[-1] == size else torch.nn.functional.pad(x, (0, size - x.shape[-1]))


def span(causal: bool, window: tuple[int, int] | None, queries: int) -> tuple[bool, int]:
    """Whether a query sees nothing behind itself, and how many keys before its own it sees: -1 for all.

    Raises NotImplementedError for a window whose sides differ, which serving kernels do not have.
    """
    left, right = window or (-1, -1)
    if causal or right == 0 or queries == 1:
        return True, left
    if left != right:
        raise NotImplementedError(f"the kernel has no window of {left} keys before and {right} after a query")
    return False, left
