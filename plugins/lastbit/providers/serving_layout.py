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
