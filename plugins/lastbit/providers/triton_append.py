"""An append to a paged cache in Triton, undecorated: triton_paged.py decorates it."""

import triton.language as tl


def append(
    x: tl.tensor,
    cache: tl.tensor,
    slots: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    size: tl.tensor,
    block: tl.tensor,
    scale_step: tl.tensor,
    x_token: tl.tensor,
    x_head: tl.tensor,
    x_d: tl.tensor,
    cache_page: tl.tensor,
    cache_place: tl.tensor,
    cache_head: tl.tensor,
    cache_d: tl.tensor,
    slot_step: tl.tensor,
    TOKENS: tl.constexpr,
    SIZE: tl.constexpr,
    SCALED: tl.constexpr,
    LOW: tl.constexpr,
    HIGH: tl.constexpr,
    INTEGER: tl.constexpr,
) -> None:
    """One head of one token of `x` (tokens, hkv, size) into `cache` (pages, block, hkv, size), at the token's slot.

    Grid: (tokens, heads). Negative slots are left out; of several tokens for one slot the last is stored, by every
    head. Strides are in elements, `scale_step` 0 where one scale is for all heads. SCALED divides by the scale in f32,
    clips to LOW and HIGH, and rounds half to even where INTEGER. TOKENS and SIZE are powers of two that hold them.
    """
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    slot = tl.load(slots + token * slot_step).to(tl.int64)
    order = tl.arange(0, TOKENS)
    rivals = tl.load(slots + order.to(tl.int64) * slot_step, mask=order < tokens, other=-1)
    last = tl.max(tl.where(rivals == slot, order, -1), axis=0)
    if (slot >= 0) & (last == token):
        column = tl.arange(0, SIZE)
        values = tl.load(x + token * x_token + head * x_head + column * x_d, mask=column < size, other=0.0)
        if SCALED:
            divisor = tl.load(scale + head * scale_step)
            values = tl.div_rn(values.to(tl.float32), divisor)  # "/" of f32 is an approximation on a GPU
            values = tl.clamp(values, LOW, HIGH, propagate_nan=tl.PropagateNan.ALL)
            if INTEGER:
                values = (values + 12582912.0) - 12582912.0  # 1.5 * 2^23: the sum has no bit below 1
        cache += slot // block * cache_page + slot % block * cache_place + head * cache_head
        tl.store(cache + column * cache_d, values.to(cache.dtype.element_ty), mask=column < size)
