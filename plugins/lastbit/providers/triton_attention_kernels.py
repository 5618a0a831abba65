"""Flash attention and its split-KV form in Triton, undecorated: triton_attention.py decorates them."""

import triton.language as tl


def forward(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    ends_q: tl.tensor,
    ends_k: tl.tensor,
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
    heads: tl.tensor,
    group: tl.tensor,
    lq: tl.tensor,
    lk: tl.tensor,
    d: tl.tensor,
    dv: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    length: tl.tensor,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BD: tl.constexpr,
    BV: tl.constexpr,
    PACKED: tl.constexpr,
) -> None:
    """One tile of BM queries of one head over one part of the keys, by online softmax.

    q (b, hq, lq, d), k (b, hkv, lk, d), v (b, hkv, lk, dv) by their strides; query head h reads key head h // group.
    A query at `place` = its row + lk - lq (bottom-right) sees keys place - left .. place + right. Program 2 takes the
    keys from length * program to that + length; out (parts, b * hq, lq, dv) and lse (parts, b * hq, lq), contiguous,
    hold each part's own mean and log-sum-exp: zero and -inf for a part that a row sees nothing of.
    PACKED: b is 1, and sequence s has the queries ends_q[s] .. ends_q[s + 1] of lq and the keys of ends_k likewise.
    Grid: (tiles of a sequence's queries, sequences * hq, parts). Sums in f32; P is cast to the type of v.
    """
    tile = tl.program_id(0)
    row = tl.program_id(1)
    part = tl.program_id(2)
    batch = (row // heads).to(tl.int64)
    head = (row % heads).to(tl.int64)
    rows = tile * BM + tl.arange(0, BM)
    depth = tl.arange(0, BD)
    width = tl.arange(0, BV)
    at = (part * tl.num_programs(1) + row).to(tl.int64) * lq
    if PACKED:
        first_q = tl.load(ends_q + batch).to(tl.int64)
        first_k = tl.load(ends_k + batch).to(tl.int64)
        at = (part * heads + head) * lq + first_q
        lq = tl.load(ends_q + batch + 1) - first_q
        lk = tl.load(ends_k + batch + 1) - first_k
        q += first_q * q_l
        k += first_k * k_l
        v += first_k * v_l
        batch = 0
    q += batch * q_b + head * q_h
    k += batch * k_b + (head // group) * k_h
    v += batch * v_b + (head // group) * v_h
    inside = (rows[:, None] < lq) & (depth[None, :] < d)
    x = tl.load(q + rows[:, None] * q_l + depth[None, :] * q_d, mask=inside, other=0.0)
    top = tl.full((BM,), float("-inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    mean = tl.zeros((BM, BV), tl.float32)
    place = rows + (lk - lq)
    low = part * length
    high = tl.minimum(low + length, lk)
    first = tl.maximum(low, tile * BM + (lk - lq) - left) // BN * BN
    last = tl.minimum(high, tile * BM + BM + (lk - lq) + right)
    for start in range(first, last, BN):
        keys = start + tl.arange(0, BN)
        inside = (keys[None, :] >= low) & (keys[None, :] < high) & (depth[:, None] < d)
        y = tl.load(k + keys[None, :] * k_l + depth[:, None] * k_d, mask=inside, other=0.0)
        # A key of another part is not read: its weight of zero times an infinite value would be NaN.
        inside = (keys[:, None] >= low) & (keys[:, None] < high) & (width[None, :] < dv)
        z = tl.load(v + keys[:, None] * v_l + width[None, :] * v_d, mask=inside, other=0.0)
        s = tl.dot(x, y, input_precision="ieee") * scale
        seen = (keys[None, :] >= low) & (keys[None, :] < high)
        seen = seen & (place[:, None] - keys[None, :] <= left) & (keys[None, :] - place[:, None] <= right)
        s = tl.where(seen, s, float("-inf"))
        peak = tl.maximum(top, tl.max(s, 1))
        base = tl.where(peak == float("-inf"), 0.0, peak)
        p = tl.exp(s - base[:, None])
        shrink = tl.exp(top - base)
        total = total * shrink + tl.sum(p, 1)
        mean = mean * shrink[:, None] + tl.dot(p.to(z.dtype), z, input_precision="ieee")
        top = peak
    divisor = tl.where(total == 0.0, 1.0, total)
    mean = mean / divisor[:, None]
    log = tl.where(total == 0.0, float("-inf"), top + tl.log(divisor))
    at += rows
    inside = (rows[:, None] < lq) & (width[None, :] < dv)
    tl.store(out + at[:, None] * dv + width[None, :], mean.to(out.dtype.element_ty), mask=inside)
    tl.store(lse + at, log, mask=rows < lq)


def combine(
    parts_out: tl.tensor,
    parts_lse: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    parts: tl.tensor,
    count: tl.tensor,
    dv: tl.tensor,
    BM: tl.constexpr,
    BV: tl.constexpr,
) -> None:
    """BM rows of the parts' means, weighted by the exp of their log-sum-exps: parts_out (parts, count, dv) in f32.

    A row of empty parts is zero, its log-sum-exp -inf. Grid: (tiles of count,).
    """
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    width = tl.arange(0, BV)
    here = (rows[:, None] < count) & (width[None, :] < dv)
    top = tl.full((BM,), float("-inf"), tl.float32)
    for part in range(parts):
        top = tl.maximum(top, tl.load(parts_lse + part * count + rows, mask=rows < count, other=0.0))
    base = tl.where(top == float("-inf"), 0.0, top)
    total = tl.zeros((BM,), tl.float32)
    mean = tl.zeros((BM, BV), tl.float32)
    for part in range(parts):
        weight = tl.exp(tl.load(parts_lse + part * count + rows, mask=rows < count, other=0.0) - base)
        total += weight
        at = (part * count + rows[:, None]) * dv + width[None, :]
        mean += weight[:, None] * tl.load(parts_out + at, mask=here, other=0.0)
    divisor = tl.where(total == 0.0, 1.0, total)
    mean = mean / divisor[:, None]
    log = tl.where(total == 0.0, float("-inf"), base + tl.log(divisor))
    tl.store(out + rows[:, None] * dv + width[None, :], mean.to(out.dtype.element_ty), mask=here)
    tl.store(lse + rows, log, mask=rows < count)
