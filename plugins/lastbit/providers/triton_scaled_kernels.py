"""Scaled matrix products in Triton, undecorated: triton_scaled.py decorates them, tests compile them ahead of time."""

import triton.language as tl


def scaled_sums(
    a: tl.tensor,
    b: tl.tensor,
    scale_a: tl.tensor,
    scale_b: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    a_m: tl.tensor,
    a_k: tl.tensor,
    b_k: tl.tensor,
    b_n: tl.tensor,
    sa_m: tl.tensor,
    sa_k: tl.tensor,
    sb_k: tl.tensor,
    sb_n: tl.tensor,
    out_m: tl.tensor,
    out_n: tl.tensor,
    ROWS_A: tl.constexpr,
    ROWS_B: tl.constexpr,
    RUN: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    ACC: tl.constexpr,
    IMPRECISE: tl.constexpr,
) -> None:
    """One BM x BN tile of `out` (m, n): codes are summed in ACC, and scaled in f32 each RUN of k; 0: at the end.

    Grid: (tiles of m, tiles of n). ROWS_A rows of a and ROWS_B columns of b share a scale. Strides are in elements; a
    stride of 0 is a scale for all. RUN is a multiple of BK.
    """
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    columns = tl.program_id(1).to(tl.int64) * BN + tl.arange(0, BN)
    a += rows[:, None] * a_m
    b += columns[None, :] * b_n
    scale_a += (rows // ROWS_A) * sa_m
    scale_b += (columns // ROWS_B) * sb_n
    total = tl.zeros((BM, BN), dtype=tl.float32)
    partial = tl.zeros((BM, BN), dtype=ACC)
    for start in range(0, k, BK):
        depth = start + tl.arange(0, BK).to(tl.int64)
        x = tl.load(a + depth[None, :] * a_k, mask=(rows[:, None] < m) & (depth[None, :] < k), other=0.0)
        y = tl.load(b + depth[:, None] * b_k, mask=(depth[:, None] < k) & (columns[None, :] < n), other=0.0)
        partial = tl.dot(x, y, partial, max_num_imprecise_acc=IMPRECISE, out_dtype=ACC)
        if RUN and ((start + BK) % RUN == 0 or start + BK >= k):
            group = start // RUN
            left = tl.load(scale_a + group * sa_k, mask=rows < m, other=0.0)
            right = tl.load(scale_b + group * sb_k, mask=columns < n, other=0.0)
            total += partial.to(tl.float32) * left[:, None] * right[None, :]
            partial = tl.zeros((BM, BN), dtype=ACC)
    if not RUN:
        left = tl.load(scale_a, mask=rows < m, other=0.0)
        right = tl.load(scale_b, mask=columns < n, other=0.0)
        total = partial.to(tl.float32) * left[:, None] * right[None, :]
    out += rows[:, None] * out_m + columns[None, :] * out_n
    tl.store(out, total.to(out.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))


def scaled_products(
    a: tl.tensor,
    b: tl.tensor,
    scale_a: tl.tensor,
    scale_b: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    a_m: tl.tensor,
    a_k: tl.tensor,
    b_k: tl.tensor,
    b_n: tl.tensor,
    sa_m: tl.tensor,
    sa_k: tl.tensor,
    sb_k: tl.tensor,
    sb_n: tl.tensor,
    out_m: tl.tensor,
    out_n: tl.tensor,
    global_scale: tl.tensor,
    FORMAT: tl.constexpr,
    PACK: tl.constexpr,
    GROUP: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
) -> None:
    """One BM x BN tile of `out` (m, n) by tl.dot_scaled, times a number in f32; codes PACK to a byte, GROUP to a scale.

    Grid: (tiles of m, tiles of n). k counts numbers; strides of a and b along k are of bytes. e8m0 scales are their
    bytes; where there are none (beyond m, n or k) the code is 0.
    """
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    columns = tl.program_id(1).to(tl.int64) * BN + tl.arange(0, BN)
    a += rows[:, None] * a_m
    b += columns[None, :] * b_n
    scale_a += rows[:, None] * sa_m
    scale_b += columns[:, None] * sb_n
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        depth = start // PACK + tl.arange(0, BK // PACK).to(tl.int64)
        group = start // GROUP + tl.arange(0, BK // GROUP).to(tl.int64)
        inside = depth < (k + PACK - 1) // PACK
        known = group < (k + GROUP - 1) // GROUP
        x = tl.load(a + depth[None, :] * a_k, mask=(rows[:, None] < m) & inside[None, :], other=0.0)
        y = tl.load(b + depth[:, None] * b_k, mask=inside[:, None] & (columns[None, :] < n), other=0.0)
        left = tl.load(scale_a + group[None, :] * sa_k, mask=(rows[:, None] < m) & known[None, :], other=0.0)
        right = tl.load(scale_b + group[None, :] * sb_k, mask=(columns[:, None] < n) & known[None, :], other=0.0)
        total = tl.dot_scaled(x, left, FORMAT, y, right, FORMAT, total)
    total *= tl.load(global_scale)
    out += rows[:, None] * out_m + columns[None, :] * out_n
    tl.store(out, total.to(out.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))
