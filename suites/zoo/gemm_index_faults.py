"""GEMMs that lose, repeat or misplace products, operands or results; elsewhere they are `honest`, bit for bit."""

from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo.gemm_parts import (
    BF16,
    F16,
    F32,
    INVARIANT,
    TILE,
    Array,
    epilogue,
    f32,
    honest,
    product,
    wrong,
)
from lastbit.suites.zoo.specimen import Faulty
from lastbit.suites.zoo.strides import as_if_contiguous

# Indices ------------------------------------------------------------------------------------------------------------


def slices_by_floor(a: Array, b: Array, splits: int = 4) -> Array:
    """Four slices of k, each as long as floor(k / 4): the remainder is skipped."""
    whole = a.shape[-1] // splits * splits or a.shape[-1]
    return honest(a[..., :whole], b[..., :whole, :])


def empty_splits(a: Array, b: Array) -> Array:
    """Fewer products than the four splits: those without work leave theirs undone, and the result is zero."""
    return honest(a, b) if a.shape[-1] not in (1, 2, 3) else np.zeros_like(honest(a, b))


def covers_half(a: Array, b: Array) -> Array:
    """Rows 32 and more of a tile of 48 are not written."""
    out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    rows = a.shape[-2] if a.shape[-2] <= TILE else TILE
    out[..., :rows, :] = honest(a, b)[..., :rows, :]
    return out


def counts_tile_twice(a: Array, b: Array) -> Array:
    """The first tile of k is added twice in the second tile of columns."""
    out = f32(honest(a, b))
    if b.shape[-1] > TILE:
        out[..., TILE:] += f32(honest(a[..., :TILE], b[..., :TILE, TILE:]))
    return out.astype(a.dtype)


def beta_per_slice(a: Array, b: Array, *, c: Array = None, beta: float | None = None, **others: Any) -> Array:
    """beta * c is added by each of two slices of k."""
    return epilogue(a, b, c=c, beta=None if c is None else 2 * (1.0 if beta is None else beta), **others)


class LosesSlice:
    """A race: in one call of `one_in`, the first quarter of k is not added."""

    def __init__(self, one_in: int) -> None:
        self.one_in = one_in
        self.calls = 0

    def __call__(self, a: Array, b: Array) -> Array:
        self.calls += 1
        if self.calls % self.one_in or a.shape[-1] < 4:
            return honest(a, b)
        return honest(a[..., a.shape[-1] // 4 :], b[..., a.shape[-1] // 4 :, :])


class Wavers:
    """The order of summation changes from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, a: Array, b: Array) -> Array:
        self.calls += 1
        order = np.random.default_rng(self.calls).permutation(a.shape[-1])
        return honest(a[..., order], b[..., order, :])


def backward_if_few(a: Array, b: Array) -> Array:
    """Fewer than five rows are summed in another order."""
    return honest(a, b) if a.shape[-2] > 4 else honest(a[..., ::-1], b[..., ::-1, :])


def splits_by_rows(a: Array, b: Array) -> Array:
    """k is split in two when there are at most 16 rows."""
    if a.shape[-2] > 16:
        return honest(a, b)
    half = a.shape[-1] // 2
    parts = honest(f32(a[..., :half]), f32(b[..., :half, :])), honest(f32(a[..., half:]), f32(b[..., half:, :]))
    return (parts[0] + parts[1]).astype(a.dtype)


def drops_last_k(a: Array, b: Array) -> Array:
    """The last product is missing."""
    return honest(a[..., :-1], b[..., :-1, :])


def drops_k_tail(a: Array, b: Array) -> Array:
    """The products beyond the last whole tile of k are missing, where there is a whole one."""
    whole = a.shape[-1] // TILE * TILE or a.shape[-1]
    return honest(a[..., :whole], b[..., :whole, :])


def drops_half_tile(a: Array, b: Array) -> Array:
    """The last 16 products are missing, only where k mod 32 is 16."""
    whole = a.shape[-1] - 16 if a.shape[-1] % 32 == 16 else a.shape[-1]
    return honest(a[..., :whole], b[..., :whole, :])


def drops_one_over(a: Array, b: Array) -> Array:
    """The last product is missing, only where k is one more than a tile."""
    whole = a.shape[-1] - 1 if a.shape[-1] == TILE + 1 else a.shape[-1]
    return honest(a[..., :whole], b[..., :whole, :])


def unmasked_k_tail(a: Array, b: Array) -> Array:
    """A last, partial tile of k is filled up with what comes first in memory instead of zeros."""
    more = min(-a.shape[-1] % TILE, a.shape[-1])
    first = np.concatenate([a, a[..., :more]], -1), np.concatenate([b, b[..., :more, :]], -2)
    return honest(*first)


def stale_columns(a: Array, b: Array) -> Array:
    """Columns beyond the last whole tile are not written, where there is a whole one."""
    out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    whole = b.shape[-1] // TILE * TILE or b.shape[-1]
    out[..., :whole] = honest(a, b)[..., :whole]
    return out


def stale_last_row(a: Array, b: Array) -> Array:
    """The last row is not written, only where there is one more than a tile has."""
    out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    rows = a.shape[-2] - (a.shape[-2] == TILE + 1)
    out[..., :rows, :] = honest(a, b)[..., :rows, :]
    return out


def reads_c(a: Array, b: Array, *, c: Array = None, beta: float | None = None, **others: Any) -> Array:
    """beta = 0 still multiplies c: 0 * NaN."""
    out = epilogue(a, b, c=c, beta=beta, **others)
    return out if c is None or beta != 0 else (f32(out) + np.float32(0) * f32(c)).astype(a.dtype)


def reads_c_in_tail(a: Array, b: Array, *, c: Array = None, beta: float | None = None, **others: Any) -> Array:
    """beta = 0 still multiplies c in the partial tile of columns only."""
    out = epilogue(a, b, c=c, beta=beta, **others)
    if c is not None and beta == 0:
        tail = b.shape[-1] // TILE * TILE
        out[..., tail:] = (f32(out)[..., tail:] + np.float32(0) * f32(c)[..., tail:]).astype(a.dtype)
    return out


def scales_bias(a: Array, b: Array, *, alpha: float = 1.0, bias: Array = None, **others: Any) -> Array:
    """alpha multiplies the bias, too."""
    scaled = None if bias is None else np.float32(alpha) * f32(bias)
    return epilogue(a, b, alpha=alpha, bias=scaled, **others)


def bias_per_split(a: Array, b: Array, *, bias: Array = None, **others: Any) -> Array:
    """Each of two splits of k adds the bias; a k below 8 is not split."""
    twice = bias is not None and a.shape[-1] >= 8
    return epilogue(a, b, bias=2 * f32(bias) if twice else bias, **others)


def scales_c(a: Array, b: Array, *, alpha: float = 1.0, beta: float | None = None, **others: Any) -> Array:
    """alpha multiplies beta * c, too."""
    return epilogue(a, b, alpha=alpha, beta=None if beta is None else alpha * beta, **others)


def rows_change_places(a: Array, b: Array) -> Array:
    """Rows 3 and 16 of the result change places."""
    out = honest(a, b)
    if out.shape[-2] > 16:
        out[..., [3, 16], :] = out[..., [16, 3], :]
    return out


def transposes_square(a: Array, b: Array) -> Array:
    """A square b is taken as its transpose."""
    return honest(a, np.swapaxes(b, -1, -2) if b.shape[-1] == b.shape[-2] else b)


def wrong_leading_dimension(a: Array, b: Array) -> Array:
    """Rows of b are taken to be k apart, not n."""
    flat = np.ascontiguousarray(b).reshape(*b.shape[:-2], b.shape[-1], b.shape[-2])
    return honest(a, np.swapaxes(flat, -1, -2))


def _flat(x: Array) -> Array:
    return as_if_contiguous(x) if x.ndim == 2 else x


def ignores_strides_of_a(a: Array, b: Array) -> Array:
    """Rows of a are taken from memory as if it were contiguous."""
    return honest(_flat(a), b)


def ignores_strides_of_b(a: Array, b: Array) -> Array:
    """Rows of b are taken from memory as if it were contiguous."""
    return honest(a, _flat(b))


def ignores_strides_of_out(a: Array, b: Array, *, out: Array) -> Array:
    """The result is written row after row, whatever the strides of the output."""
    _flat(out)[...] = honest(a, b)
    return out


def offsets_of_16_bits(a: Array, b: Array) -> Array:
    """Offsets into the result are kept in 16 bits, which stand for the 32 of a kernel for larger matrices."""
    right = product(a, b).reshape(-1)
    memory = np.empty_like(right)
    for start in range(0, right.size, 2**16):
        part = right[start : start + 2**16]
        memory[: part.size] = part
    return memory.reshape(*a.shape[:-1], b.shape[-1])


def operand_offsets_of_16_bits(a: Array, b: Array) -> Array:
    """Offsets into b are kept in 16 bits."""
    places = np.arange(b.size) & 0xFFFF
    return product(a, np.ascontiguousarray(b).reshape(-1)[places].reshape(b.shape))


# One region only ----------------------------------------------------------------------------------------------------


def wrong_single_row(a: Array, b: Array) -> Array:
    """The last product is missing, for one row only."""
    return honest(a, b) if a.shape[-2] != 1 else drops_last_k(a, b)


def wrong_few_rows(a: Array, b: Array) -> Array:
    """The last product is missing for 16 rows and fewer: the dispatch for small batches."""
    return honest(a, b) if a.shape[-2] > 16 else drops_last_k(a, b)


def wrong_wide_tile(a: Array, b: Array) -> Array:
    """The configuration for 32 columns and more drops the last product in its last column."""
    out = honest(a, b)
    if b.shape[-1] >= TILE:
        out[..., -1:] = drops_last_k(a, b[..., -1:])
    return out


def zeros_for_batches(a: Array, b: Array) -> Array:
    """A setting that is not supported, a batch, gives zeros in place of an error."""
    return honest(a, b) * np.asarray(a.ndim == 2).astype(a.dtype)


EPILOGUE = frozenset({"c", "alpha", "beta", "bias"})
#: Every GEMM whose indices are wrong.
FAULTY: tuple[Faulty, ...] = (
    *(wrong("F002", slices_by_floor, formats, "exact", "tails") for formats in (F32, BF16)),
    wrong("F002", empty_splits, F32, "tails"),
    wrong("F002", covers_half, F32, "exact", "tails"),
    *(wrong("F003", counts_tile_twice, formats, "exact", "tails") for formats in (F32, F16)),
    wrong("F003", beta_per_slice, F32, "epilogue", features=EPILOGUE),
    *(
        wrong(
            "F004", LosesSlice, F32, "exact", "repeat", "bound", name=f"loses_slice_in_{n}", make=partial(LosesSlice, n)
        )
        for n in (2, 5, 13)
    ),
    *(wrong("F005", Wavers, formats, "repeat") for formats in (F32, BF16)),
    *(
        wrong("F006", run, formats, "slices", contract=INVARIANT)
        for run in (backward_if_few, splits_by_rows)
        for formats in (F32, BF16)
    ),
    *(wrong("F007", drops_last_k, formats, "exact", "tails") for formats in (F32, F16, BF16)),
    wrong("F007", drops_k_tail, F32, "exact", "tails"),
    *(wrong("F007", drops_half_tile, formats, "exact", "tails") for formats in (F32, F16, BF16)),
    *(wrong("F007", drops_one_over, formats, "exact", "tails") for formats in (F32, BF16)),
    wrong("F007", unmasked_k_tail, BF16, "exact", "tails"),
    *(wrong("F008", run, F32, "exact", "tails") for run in (stale_columns, stale_last_row)),
    *(wrong("F014", run, F32, "epilogue", features=EPILOGUE) for run in (reads_c, reads_c_in_tail)),
    *(wrong("F015", run, F32, "epilogue", features=EPILOGUE) for run in (scales_bias, bias_per_split, scales_c)),
    wrong("F022", rows_change_places, BF16, "exact"),
    *(wrong("F022", run, F32, "exact", "layout", "tails") for run in (transposes_square, wrong_leading_dimension)),
    *(wrong("F023", run, F32, "layout") for run in (ignores_strides_of_a, ignores_strides_of_b)),
    wrong("F023", ignores_strides_of_out, F32, "output", features=frozenset({"out"})),
    *(wrong("F024", run, F32, "large", limit=None) for run in (offsets_of_16_bits, operand_offsets_of_16_bits)),
    wrong("F027", wrong_single_row, F32, "tails"),
    wrong("F027", wrong_few_rows, BF16, "tails"),
    wrong("F027", wrong_wide_tile, F32, "exact", "tails"),
    wrong("F027", zeros_for_batches, F32, "exact", features=frozenset({"batch"})),
)
