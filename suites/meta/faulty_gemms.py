"""GEMMs that are wrong in ways seen in the field, and GEMMs that differ and are right; all on numpy arrays.

Each fault is a few lines on top of `honest`; ids and citations are those of the fault classes they stand for.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel

Array = Any
TILE = 32


def f32(x: Array) -> Array:
    return np.asarray(x).astype(np.float32)


def honest(a: Array, b: Array) -> Array:
    """f32 accumulation over k in order, one rounding to the operands' type at the end."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    wide_a, wide_b = f32(a), f32(b)
    for k in range(a.shape[-1]):
        total += wide_a[..., :, k, None] * wide_b[..., None, k, :]
    with np.errstate(over="ignore"):
        return total.astype(a.dtype)


def chain(a: Array, b: Array, step: Callable[[Array], Array]) -> Array:
    """An f32 sum over k with `step` applied to every partial sum."""
    total = np.zeros((a.shape[-2], b.shape[-1]), np.float32)
    for k in range(a.shape[-1]):
        total = step(total + f32(a)[:, k, None] * f32(b)[None, k, :])
    return total


def keep_bits(x: Array, bits: int) -> Array:
    """f32 values cut to `bits` significand bits, toward zero."""
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    return (f32(x).view(np.uint32) & mask).view(np.float32)


def through(dtype: Any) -> Callable[[Array], Array]:
    return lambda x: f32(np.asarray(x).astype(dtype))


# Faults -----------------------------------------------------------------------------------------------------------


def f16_accumulator(a: Array, b: Array) -> Array:
    """F009: partial sums are stored in f16."""
    with np.errstate(over="ignore", invalid="ignore"):
        return chain(a, b, through(np.float16)).astype(a.dtype)


def bf16_accumulator(a: Array, b: Array) -> Array:
    """F010: partial sums are stored in bf16."""
    return chain(a, b, through(ml_dtypes.bfloat16)).astype(a.dtype)


def truncating_accumulator(a: Array, b: Array) -> Array:
    """F011: each partial sum is cut to 24 bits from an exact addition, toward zero."""
    total = np.zeros((a.shape[-2], b.shape[-1]), np.float32)
    for k in range(a.shape[-1]):
        wide = total.astype(np.float64) + f32(a).astype(np.float64)[:, k, None] * f32(b).astype(np.float64)[None, k, :]
        near = wide.astype(np.float32)
        total = np.where(np.abs(near) > np.abs(wide), np.nextafter(near, np.float32(0)), near)
    return total.astype(a.dtype)


def tf32_leak(a: Array, b: Array) -> Array:
    """F012: f32 operands lose 13 bits."""
    return honest(keep_bits(a, 11), keep_bits(b, 11)).astype(a.dtype)


def bf16_leak(a: Array, b: Array) -> Array:
    """F013: f32 operands are multiplied as bf16."""
    return honest(through(ml_dtypes.bfloat16)(a), through(ml_dtypes.bfloat16)(b)).astype(a.dtype)


def drops_last_k(a: Array, b: Array) -> Array:
    """F007: the last product is missing."""
    return honest(a[..., :-1], b[..., :-1, :])


def drops_k_tail(a: Array, b: Array) -> Array:
    """F002: slices of k by floor division, the remainder is skipped."""
    whole = a.shape[-1] // TILE * TILE
    return honest(a[..., :whole], b[..., :whole, :]) if whole else honest(a, b)


def truncates_output(a: Array, b: Array) -> Array:
    """F065's kin: the result is cut, not rounded, to the output type (bf16)."""
    wide = honest(f32(a), f32(b))
    return keep_bits(wide, 8).astype(a.dtype)


def rounds_twice(a: Array, b: Array) -> Array:
    """F001: halves of k are rounded to the output type before they are added."""
    half = a.shape[-1] // 2
    parts = (honest(a[..., :half], b[..., :half, :]), honest(a[..., half:], b[..., half:, :]))
    return (f32(parts[0]) + f32(parts[1])).astype(a.dtype)


def ignores_strides(a: Array, b: Array) -> Array:
    """F023: rows of b are taken from memory as if it were contiguous."""
    flat = np.lib.stride_tricks.as_strided(b, b.shape, (b.shape[-1] * b.itemsize, b.itemsize)) if b.ndim == 2 else b
    return honest(a, flat)


def writes_tile_twice(a: Array, b: Array) -> Array:
    """F003: the first tile of k is added twice in the second tile of columns."""
    out = f32(honest(a, b))
    if b.shape[-1] > TILE:
        out[..., TILE:] += f32(honest(a[..., :TILE], b[..., :TILE, TILE:]))
    return out.astype(a.dtype)


def stale_tail(a: Array, b: Array) -> Array:
    """F008: columns beyond the last whole tile are not written."""
    out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    whole = b.shape[-1] // TILE * TILE or b.shape[-1]
    out[..., :whole] = honest(a, b)[..., :whole]
    return out


def row_of_next(a: Array, b: Array) -> Array:
    """F022's kin: two rows of the result change places when there are more than 16."""
    out = honest(a, b)
    if out.shape[-2] > 16:
        out[..., [3, 16], :] = out[..., [16, 3], :]
    return out


def wrong_single_row(a: Array, b: Array) -> Array:
    """F027: wrong for m = 1 only."""
    return honest(a, b) if a.shape[-2] != 1 else honest(a[..., :-1], b[..., :-1, :])


def flushes(a: Array, b: Array) -> Array:
    """F028: subnormal operands count as zero."""
    smallest = float(ml_dtypes.finfo(a.dtype).smallest_normal)
    return honest(np.where(np.abs(f32(a)) < smallest, 0, a).astype(a.dtype), b)


def saturates(a: Array, b: Array) -> Array:
    """Overflow gives the largest value where infinity is promised."""
    out = f32(honest(f32(a), f32(b)))
    return np.clip(out, -float(ml_dtypes.finfo(a.dtype).max), float(ml_dtypes.finfo(a.dtype).max)).astype(a.dtype)


def loses_nan(a: Array, b: Array) -> Array:
    """NaN operands count as zero."""
    return honest(np.nan_to_num(f32(a), nan=0.0, posinf=np.inf, neginf=-np.inf).astype(a.dtype), b)


def zeros(a: Array, b: Array) -> Array:
    """F093: no work at all."""
    return np.zeros((*a.shape[:-1], b.shape[-1]), a.dtype)


def halved(a: Array, b: Array) -> Array:
    """Half of the answer."""
    return (f32(honest(a, b)) / 2).astype(a.dtype)


class Yesterday:
    """F091: one buffer for every call of a shape, returned again and again."""

    def __init__(self) -> None:
        self.buffers: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array) -> Array:
        out = honest(a, b)
        kept = self.buffers.setdefault((out.shape, out.dtype.str), out)
        kept[...] = out
        return kept


class Remembers:
    """F092: results are cached by address and shape."""

    def __init__(self) -> None:
        self.results: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array) -> Array:
        key = (a.ctypes.data, b.ctypes.data, a.shape, b.shape)
        if key not in self.results:
            self.results[key] = honest(a, b)
        return self.results[key].copy()


def changes_inputs(a: Array, b: Array) -> Array:
    """F094: the operands are zeroed."""
    out = honest(a, b)
    a[...] = 0
    return out


class Wavers:
    """F005: the order of summation changes from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, a: Array, b: Array) -> Array:
        self.calls += 1
        order = np.roll(np.arange(a.shape[-1]), self.calls)
        return honest(a[..., order], b[..., order, :])


def varies_with_batch(a: Array, b: Array) -> Array:
    """F006: fewer than five rows are summed in another order."""
    return honest(a, b) if a.shape[-2] > 4 else honest(a[..., ::-1], b[..., ::-1, :])


#: Those that remember earlier calls.
CHEATS = (Yesterday, Remembers, Wavers)

F32 = {"a": "f32", "b": "f32", "out": "f32"}
F16 = {"a": "f16", "b": "f16", "out": "f16"}
BF16 = {"a": "bf16", "b": "bf16", "out": "bf16"}
PLAIN = Contract()
INVARIANT = Contract(batch_invariant=True)

#: (id, function, formats, contract, checks of which at least one must name it)
FAULTS: tuple[tuple[str, Callable[..., Any], dict[str, str], Contract, frozenset[str]], ...] = (
    ("f16_accumulator", f16_accumulator, F16, PLAIN, frozenset({"exact"})),
    ("f16_accumulator_f32", f16_accumulator, F32, PLAIN, frozenset({"exact", "bound"})),
    ("bf16_accumulator", bf16_accumulator, BF16, PLAIN, frozenset({"exact"})),
    ("truncating_accumulator", truncating_accumulator, F32, PLAIN, frozenset({"statistics"})),
    ("tf32_leak", tf32_leak, F32, PLAIN, frozenset({"exact"})),
    ("bf16_leak", bf16_leak, F32, PLAIN, frozenset({"exact"})),
    ("drops_last_k", drops_last_k, BF16, PLAIN, frozenset({"exact", "tails"})),
    ("drops_k_tail", drops_k_tail, F32, PLAIN, frozenset({"exact", "tails"})),
    ("truncates_output", truncates_output, BF16, PLAIN, frozenset({"exact", "bound", "statistics"})),
    ("rounds_twice", rounds_twice, BF16, PLAIN, frozenset({"exact"})),
    ("ignores_strides", ignores_strides, F32, PLAIN, frozenset({"layout"})),
    ("writes_tile_twice", writes_tile_twice, F32, PLAIN, frozenset({"exact", "tails"})),
    ("stale_tail", stale_tail, F32, PLAIN, frozenset({"exact", "tails"})),
    ("row_of_next", row_of_next, BF16, PLAIN, frozenset({"exact"})),
    ("wrong_single_row", wrong_single_row, F32, PLAIN, frozenset({"tails"})),
    ("flushes", flushes, F16, PLAIN, frozenset({"bound"})),
    ("saturates", saturates, F16, PLAIN, frozenset({"bound"})),
    ("loses_nan", loses_nan, F32, PLAIN, frozenset({"special"})),
    ("zeros", zeros, F32, PLAIN, frozenset({"exact"})),
    ("halved", halved, BF16, PLAIN, frozenset({"exact", "bound"})),
    ("yesterday", Yesterday(), F32, PLAIN, frozenset({"repeat", "second_call", "slices", "exact"})),
    ("remembers", Remembers(), F32, PLAIN, frozenset({"second_call"})),
    ("changes_inputs", changes_inputs, F32, PLAIN, frozenset({"exact"})),
    ("wavers", Wavers(), F32, PLAIN, frozenset({"repeat"})),
    ("varies_with_batch", varies_with_batch, F32, INVARIANT, frozenset({"slices"})),
)


# Correct variants ---------------------------------------------------------------------------------------------------


def backward(a: Array, b: Array) -> Array:
    return honest(a[..., ::-1], b[..., ::-1, :])


def pairwise(a: Array, b: Array) -> Array:
    parts = f32(a)[..., :, :, None] * f32(b)[..., None, :, :]
    while parts.shape[-2] > 1:
        if parts.shape[-2] % 2:
            parts = np.concatenate([parts, np.zeros_like(parts[..., :1, :])], axis=-2)
        parts = parts[..., ::2, :] + parts[..., 1::2, :]
    with np.errstate(over="ignore"):
        return parts.sum(axis=-2).astype(a.dtype)


def split_k(a: Array, b: Array) -> Array:
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for part in np.array_split(np.arange(a.shape[-1]), 3):
        total += honest(f32(a)[..., part], f32(b)[..., part, :])
    with np.errstate(over="ignore"):
        return total.astype(a.dtype)


def in_f64(a: Array, b: Array) -> Array:
    wide = np.asarray(a).astype(np.float64) @ np.asarray(b).astype(np.float64)
    with np.errstate(over="ignore"):
        return wide.astype(np.float32).astype(a.dtype) if a.dtype.itemsize < 4 else wide.astype(a.dtype)


def column_major(a: Array, b: Array) -> Array:
    return np.asarray(honest(a, b), order="F")


DECLARED: tuple[tuple[str, Callable[..., Any], dict[str, str], Contract], ...] = (
    ("tf32-declared", tf32_leak, F32, Contract(input_rounding="tf32")),
    ("bf16-declared", bf16_leak, F32, Contract(input_rounding="bf16")),
    ("f16-accumulator-declared", f16_accumulator, F16, Contract(accumulator="f16")),
    ("bf16-accumulator-declared", bf16_accumulator, BF16, Contract(accumulator="bf16")),
    ("truncated-output-declared", truncates_output, BF16, Contract(output_rounding="toward-zero")),
    ("saturation-declared", saturates, F16, Contract(overflow="saturate")),
    ("flush-declared", flushes, F16, Contract(subnormals="flush")),
    ("nondeterministic-declared", Wavers(), F32, Contract(deterministic=False)),
    ("batch-variant-undeclared", varies_with_batch, F32, PLAIN),
)

#: (id, function, formats, contract); none may be flagged under any seed.
CORRECT = (
    *(
        (f"{function.__name__}-{formats['a']}", function, formats, PLAIN)
        for function in (honest, backward, pairwise, split_k, in_f64, column_major)
        for formats in (F32, F16, BF16)
    ),
    *DECLARED,
)


def kernel(name: str, run: Callable[..., Any], formats: dict[str, str], contract: Contract) -> Kernel:
    return Kernel(
        name=f"zoo/{name}",
        op="gemm",
        run=run,
        formats=formats,
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        limit=400_000,
    )
