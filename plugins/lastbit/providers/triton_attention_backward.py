"""The backward pass of flash attention in Triton, undecorated: triton_attention_gradients.py decorates it."""

import triton.language as tl


def keys_and_values(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    g: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    dk: tl.tensor,
    dv: tl.tensor,
    scale: tl.tensor,
    q_b: tl.tensor,
    q_h: tl.tensor,
    q_l: tl.tensor,
    q_d: tl.tensor,
    k_b: tl.tensor,
    k_h: tl.tensor,
    k_l: tl.tensor,
    k_d: tl.tensor,
    v_b: tl.tensor,
    v_h: tl.tensor,
    v_l: tl.tensor,
    v_d: tl.tensor,
    g_b: tl.tensor,
    g_h: tl.tensor,
    g_l: tl.tensor,
    g_d: tl.tensor,
    heads: tl.tensor,
    group: tl.tensor,
    lq: tl.tensor,
    lk: tl.tensor,
    d: tl.tensor,
    size: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BD: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """dK and dV of a tile of BN keys of one key head, over all queries of its group: sums in f32, in one order.

    P is recomputed from the scores and lse (b * hq, lq); D from out (b * hq, lq, size) as it was stored; P and dS are
    cast to the operands' type before they are multiplied. dk and dv are contiguous. Grid: (tiles of lk, b * hkv).
    """
    row = tl.program_id(1)
    batch = (row // (heads // group)).to(tl.int64)
    key_head = (row % (heads // group)).to(tl.int64)
    keys = tl.program_id(0) * BN + tl.arange(0, BN)
    depth = tl.arange(0, BD)
    width = tl.arange(0, BV)
    inside_k = (keys[:, None] < lk) & (depth[None, :] < d)
    inside_v = (keys[:, None] < lk) & (width[None, :] < size)
    y = tl.load(k + batch * k_b + key_head * k_h + keys[:, None] * k_l + depth[None, :] * k_d, mask=inside_k, other=0.0)
    z = tl.load(v + batch * v_b + key_head * v_h + keys[:, None] * v_l + width[None, :] * v_d, mask=inside_v, other=0.0)
    sum_k = tl.zeros((BN, BD), tl.float32)
    sum_v = tl.zeros((BN, BV), tl.float32)
    for member in range(group):
        head = key_head * group + member
        for start in range(0, lq, BM):
            rows = start + tl.arange(0, BM)
            at = (batch * heads + head) * lq + rows
            inside_q = (rows[:, None] < lq) & (depth[None, :] < d)
            inside = (rows[:, None] < lq) & (width[None, :] < size)
            x = tl.load(
                q + batch * q_b + head * q_h + rows[:, None] * q_l + depth[None, :] * q_d, mask=inside_q, other=0.0
            )
            u = tl.load(
                g + batch * g_b + head * g_h + rows[:, None] * g_l + width[None, :] * g_d, mask=inside, other=0.0
            )
            o = tl.load(out + at[:, None] * size + width[None, :], mask=inside, other=0.0)
            log = tl.load(lse + at, mask=rows < lq, other=float("-inf"))
            distance = keys[None, :] - (rows[:, None] + (lk - lq))
            seen = (keys[None, :] < lk) & (-distance <= left) & (distance <= right) & (log[:, None] != float("-inf"))
            s = tl.dot(x, tl.trans(y), input_precision="ieee") * scale
            p = tl.where(seen, tl.exp(s - log[:, None]), 0.0)
            mean = tl.sum(u.to(tl.float32) * o.to(tl.float32), 1)
            gained = tl.dot(u, tl.trans(z), input_precision="ieee")
            ds = tl.where(seen, p * (gained - mean[:, None]), 0.0)
            sum_v += tl.dot(tl.trans(p.to(u.dtype)), u, input_precision="ieee")
            sum_k += tl.dot(tl.trans(ds.to(x.dtype)), x, input_precision="ieee")
    at = row.to(tl.int64) * lk + keys
    tl.store(dk + at[:, None] * d + depth[None, :], (sum_k * scale).to(dk.dtype.element_ty), mask=inside_k)
    tl.store(dv + at[:, None] * size + width[None, :], sum_v.to(dv.dtype.element_ty), mask=inside_v)


def queries(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    g: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    dq: tl.tensor,
    scale: tl.tensor,
    q_b: tl.tensor,
    q_h: tl.tensor,
    q_l: tl.tensor,
    q_d: tl.tensor,
    k_b: tl.tensor,
    k_h: tl.tensor,
    k_l: tl.tensor,
    k_d: tl.tensor,
    v_b: tl.tensor,
    v_h: tl.tensor,
    v_l: tl.tensor,
    v_d: tl.tensor,
    g_b: tl.tensor,
    g_h: tl.tensor,
    g_l: tl.tensor,
    g_d: tl.tensor,
    heads: tl.tensor,
    group: tl.tensor,
    lq: tl.tensor,
    lk: tl.tensor,
    d: tl.tensor,
    size: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BD: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """dQ of a tile of BM queries of one head, over all keys, as in `keys_and_values`. Grid: (tiles of lq, b * hq)."""
    row = tl.program_id(1)
    batch = (row // heads).to(tl.int64)
    head = (row % heads).to(tl.int64)
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    depth = tl.arange(0, BD)
    width = tl.arange(0, BV)
    at = row.to(tl.int64) * lq + rows
    inside_q = (rows[:, None] < lq) & (depth[None, :] < d)
    inside = (rows[:, None] < lq) & (width[None, :] < size)
    x = tl.load(q + batch * q_b + head * q_h + rows[:, None] * q_l + depth[None, :] * q_d, mask=inside_q, other=0.0)
    u = tl.load(g + batch * g_b + head * g_h + rows[:, None] * g_l + width[None, :] * g_d, mask=inside, other=0.0)
    o = tl.load(out + at[:, None] * size + width[None, :], mask=inside, other=0.0)
    log = tl.load(lse + at, mask=rows < lq, other=float("-inf"))
    mean = tl.sum(u.to(tl.float32) * o.to(tl.float32), 1)
    k += batch * k_b + (head // group) * k_h
    v += batch * v_b + (head // group) * v_h
    total = tl.zeros((BM, BD), tl.float32)
    for start in range(0, lk, BN):
        keys = start + tl.arange(0, BN)
        inside_k = (keys[:, None] < lk) & (depth[None, :] < d)
        inside_v = (keys[:, None] < lk) & (width[None, :] < size)
        y = tl.load(k + keys[:, None] * k_l + depth[None, :] * k_d, mask=inside_k, other=0.0)
        z = tl.load(v + keys[:, None] * v_l + width[None, :] * v_d, mask=inside_v, other=0.0)
        distance = keys[None, :] - (rows[:, None] + (lk - lq))
        seen = (keys[None, :] < lk) & (-distance <= left) & (distance <= right) & (log[:, None] != float("-inf"))
        s = tl.dot(x, tl.trans(y), input_precision="ieee") * scale
        p = tl.where(seen, tl.exp(s - log[:, None]), 0.0)
        gained = tl.dot(u, tl.trans(z), input_precision="ieee")
        ds = tl.where(seen, p * (gained - mean[:, None]), 0.0)
        total += tl.dot(ds.to(y.dtype), y, input_precision="ieee")
    tl.store(dq + at[:, None] * d + depth[None, :], (total * scale).to(dq.dtype.element_ty), mask=inside_q)
