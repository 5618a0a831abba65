"""Paged decode in Triton, undecorated: triton_paged.py decorates it."""

import triton.language as tl


def decode(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    table: tl.tensor,
    lengths: tl.tensor,
    k_scale: tl.tensor,
    v_scale: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    group: tl.tensor,
    block: tl.tensor,
    d: tl.tensor,
    dv: tl.tensor,
    scale_step: tl.tensor,
    left: tl.tensor,
    q_sequence: tl.tensor,
    q_head: tl.tensor,
    q_d: tl.tensor,
    k_page: tl.tensor,
    k_token: tl.tensor,
    k_head: tl.tensor,
    k_d: tl.tensor,
    v_page: tl.tensor,
    v_token: tl.tensor,
    v_head: tl.tensor,
    v_d: tl.tensor,
    table_sequence: tl.tensor,
    table_page: tl.tensor,
    length_step: tl.tensor,
    BLOCK: tl.constexpr,
    D: tl.constexpr,
    DV: tl.constexpr,
    SCALED: tl.constexpr,
) -> None:
    """One query's attention over the pages of its sequence, by an online softmax in f32, one page at a time.

    Grid: (sequences, query heads). The query is the last token's; it sees `left` tokens before its own, all of them
    where `left` is negative. `out` is contiguous; strides are in elements, `scale_step` 0 where one scale is for all
    heads. BLOCK, D and DV are powers of two that hold block, d and dv; places without a token are not loaded.
    """
    sequence = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    source = head // group
    length = tl.load(lengths + sequence * length_step)
    place = tl.arange(0, BLOCK)
    dims, columns = tl.arange(0, D), tl.arange(0, DV)
    query = tl.load(q + sequence * q_sequence + head * q_head + dims * q_d, mask=dims < d, other=0.0).to(tl.float32)
    by_key, by_value = 1.0, 1.0
    if SCALED:
        by_key = tl.load(k_scale + source * scale_step)
        by_value = tl.load(v_scale + source * scale_step)
    k += source * k_head + place[:, None] * k_token + dims[None, :] * k_d
    v += source * v_head + place[:, None] * v_token + columns[None, :] * v_d
    top = tl.full((1,), float("-inf"), tl.float32)
    total = tl.zeros((1,), tl.float32)
    result = tl.zeros((DV,), tl.float32)
    first = tl.where(left < 0, 0, tl.maximum(length - 1 - left, 0))
    for start in range(first // block * block, length, block):
        page = tl.load(table + sequence * table_sequence + (start // block) * table_page).to(tl.int64)
        held = (place < block) & (start + place < length) & (start + place >= first)
        keys = tl.load(k + page * k_page, mask=held[:, None] & (dims[None, :] < d), other=0.0).to(tl.float32)
        logits = tl.sum(keys * query[None, :], axis=1) * (scale * by_key)
        logits = tl.where(held, logits, float("-inf"))
        new = tl.maximum(top, tl.max(logits, axis=0))
        weights = tl.exp(logits - new)
        shrink = tl.exp(top - new)
        values = tl.load(v + page * v_page, mask=held[:, None] & (columns[None, :] < dv), other=0.0).to(tl.float32)
        result = result * shrink + tl.sum(weights[:, None] * values, axis=0)
        total = total * shrink + tl.sum(weights, axis=0)
        top = new
    result = tl.where(total > 0, result * by_value / total, 0.0)
    out += (sequence * tl.num_programs(1) + head) * dv + columns
    tl.store(out, result.to(out.dtype.element_ty), mask=columns < dv)
