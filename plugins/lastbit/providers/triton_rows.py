"""Softmax, log_softmax and logsumexp of rows in Triton, online: undecorated, triton_softmax.py decorates them."""

import triton.language as tl


def rows(
    x: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    x_batch: tl.tensor,
    x_m: tl.tensor,
    x_n: tl.tensor,
    out_batch: tl.tensor,
    out_m: tl.tensor,
    out_n: tl.tensor,
    BM: tl.constexpr,
    BN: tl.constexpr,
    OP: tl.constexpr,
    WORK: tl.constexpr,
) -> None:
    """BM rows of `out` (batch, m, n), or (batch, m, 1) for logsumexp, from `x` (batch, m, n); computed in WORK.

    Grid: (tiles of m, batch). OP is "softmax", "log_softmax" or "logsumexp". Strides are in elements, any of them; the
    last block of BN columns is padded with -inf. The running sum is rescaled whenever the maximum grows. A maximum of
    -inf is not taken off, so that the sum is 0, and for logsumexp neither is +inf; elsewhere +inf gives NaN.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    x += tl.program_id(1).to(tl.int64) * x_batch + row[:, None] * x_m
    out += tl.program_id(1).to(tl.int64) * out_batch + row[:, None] * out_m
    top = tl.full((BM, 1), -float("inf"), WORK)
    base = tl.zeros((BM, 1), WORK)
    total = tl.zeros((BM, 1), WORK)
    for start in range(0, n, BN):
        column = (start + tl.arange(0, BN).to(tl.int64))[None, :]
        logits = tl.load(x + column * x_n, mask=(row[:, None] < m) & (column < n), other=-float("inf")).to(WORK)
        larger = tl.maximum(top, tl.max(logits, axis=1)[:, None])
        left = (larger == -float("inf")) | ((larger == float("inf")) & (OP == "logsumexp"))
        base = tl.where(left, 0.0, larger)
        scale = tl.where(top == -float("inf"), 0.0, tl.exp(top - base))
        total = total * scale + tl.sum(tl.exp(logits - base), axis=1)[:, None]
        top = larger
    if OP == "logsumexp":
        tl.store(out, (base + tl.log(total)).to(out.dtype.element_ty), mask=row[:, None] < m)
    else:
        for start in range(0, n, BN):
            column = (start + tl.arange(0, BN).to(tl.int64))[None, :]
            here = (row[:, None] < m) & (column < n)
            logits = tl.load(x + column * x_n, mask=here, other=-float("inf")).to(WORK)
            found = logits - base
            if OP == "log_softmax":
                found = found - tl.log(total)
            elif tl.float64 == WORK:
                found = tl.exp(found) / total
            else:  # "/" of f32 is an approximation on a GPU
                found = tl.div_rn(tl.exp(found), total)
            tl.store(out + column * out_n, found.to(out.dtype.element_ty), mask=here)
