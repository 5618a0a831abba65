"""The backward pass of our Triton flash attention: two kernels, each sum in f32 and in one order."""

from functools import cache
from typing import Any

#: Queries and keys of a tile.
BM, BN = 32, 32


def gradients(
    operands: tuple[Any, Any, Any],
    grad_out: Any,
    out: Any,
    lse: Any,
    scale: float,
    sides: tuple[int, int],
    padded: tuple[int, int],
) -> tuple[Any, Any, Any]:
    """dq, dk and dv for q (b, hq, lq, d), k and v, from the result and the log-sum-exp of the forward pass.

    sides: keys that a query sees to its left and right; padded: d and dv as powers of two.
    """
    import torch

    q, k, v = operands
    (b, hq, lq, d), (hkv, lk), dv = q.shape, k.shape[1:3], v.shape[3]
    found = tuple(torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in operands)
    if not (lse.numel() and lk):
        return found
    of_keys, of_queries = _jit()
    strides = (*q.stride(), *k.stride(), *v.stride(), *grad_out.stride())
    rest = (scale, *strides, hq, hq // hkv, lq, lk, d, dv, *sides)
    blocks = {"BM": BM, "BN": BN, "BD": padded[0], "BV": padded[1]}
    given = (*operands, grad_out, out, lse)
    of_keys[(-(-lk // BN), b * hkv)](*given, found[1], found[2], *rest, **blocks)
    of_queries[(-(-lq // BM), b * hq)](*given, found[0], *rest, **blocks)
    return found


@cache
def _jit() -> tuple[Any, Any]:
    import triton

    from lastbit.providers.triton_attention_backward import keys_and_values, queries

    return triton.jit(keys_and_values), triton.jit(queries)
