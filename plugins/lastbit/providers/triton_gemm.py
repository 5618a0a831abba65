"""A tiled matrix product in Triton, undecorated: triton.py decorates it, the tests compile it ahead of time."""

import triton.language as tl


def gemm(
    a: tl.tensor,
    b: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    a_batch: tl.tensor,
    a_m: tl.tensor,
    a_k: tl.tensor,
    b_batch: tl.tensor,
    b_k: tl.tensor,
    b_n: tl.tensor,
    out_batch: tl.tensor,
    out_m: tl.tensor,
    out_n: tl.tensor,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    IMPRECISE: tl.constexpr,
    WIDEN: tl.constexpr,
) -> None:
    """One BM x BN tile of `out` (batch, m, n) = `a` (batch, m, k) @ `b` (batch, k, n), accumulated in ACC.

    Grid: (tiles of m, tiles of n, batch). Strides are in elements, any of them; sizes too: the tails are masked.
    PRECISION is tl.dot's input_precision, IMPRECISE its max_num_imprecise_acc. WIDEN casts the operands to f32 first,
    which changes no product: the interpreter's documentation asks for it where they are bf16.
    """
    batch = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    columns = tl.program_id(1).to(tl.int64) * BN + tl.arange(0, BN)
    a += batch * a_batch + rows[:, None] * a_m
    b += batch * b_batch + columns[None, :] * b_n
    total = tl.zeros((BM, BN), dtype=ACC)
    for start in range(0, k, BK):
        depth = start + tl.arange(0, BK).to(tl.int64)
        x = tl.load(a + depth[None, :] * a_k, mask=(rows[:, None] < m) & (depth[None, :] < k), other=0.0)
        y = tl.load(b + depth[:, None] * b_k, mask=(depth[:, None] < k) & (columns[None, :] < n), other=0.0)
        if WIDEN:
            x = x.to(tl.float32)
            y = y.to(tl.float32)
        total = tl.dot(x, y, total, input_precision=PRECISION, max_num_imprecise_acc=IMPRECISE, out_dtype=ACC)
    out += batch * out_batch + rows[:, None] * out_m + columns[None, :] * out_n
    tl.store(out, total.to(out.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))
