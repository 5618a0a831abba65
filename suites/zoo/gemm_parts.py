"""What the right and the wrong GEMMs of the zoo are made of, on NumPy arrays."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.specimen import Faulty, Variant, faulty, maker, story_of, variant

Array = Any
#: Block size that faults of tiles have.
TILE = 32
#: Largest m*n*k: sums are done product by product, in Python.
LIMIT = 400_000

F64 = {"a": "f64", "b": "f64", "out": "f64"}
F32 = {"a": "f32", "b": "f32", "out": "f32"}
F16 = {"a": "f16", "b": "f16", "out": "f16"}
BF16 = {"a": "bf16", "b": "bf16", "out": "bf16"}
INT8 = {"a": "u8", "b": "i8", "out": "i32"}
PLAIN = Contract()
INVARIANT = Contract(batch_invariant=True)


def f32(x: Array) -> Array:
    """The values as f32."""
    return np.asarray(x).astype(np.float32)


def honest(a: Array, b: Array) -> Array:
    """f32 accumulation over k in order, one rounding to the operands' type at the end."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    wide_a, wide_b = f32(a), f32(b)
    for k in range(a.shape[-1]):
        total += wide_a[..., :, k, None] * wide_b[..., None, k, :]
    with np.errstate(over="ignore"):
        return total.astype(a.dtype)


def product(a: Array, b: Array) -> Array:
    """The library's f32 product, rounded once: for shapes that `honest` takes too long for."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.matmul(f32(a), f32(b)).astype(a.dtype)


def epilogue(
    a: Array, b: Array, *, c: Array = None, alpha: float = 1.0, beta: float | None = None, bias: Array = None
) -> Array:
    """alpha * a @ b + beta * c + bias in f32, rounded once; c is not read where beta is 0."""
    total = np.float32(alpha) * honest(f32(a), f32(b))
    if c is not None and beta != 0:
        total = total + np.float32(1.0 if beta is None else beta) * f32(c)
    return (total if bias is None else total + f32(bias)).astype(a.dtype)


def chain(a: Array, b: Array, step: Callable[[Array], Array], block: int = 1) -> Array:
    """An f32 sum over k, with `step` applied to the partial sum after each `block` of products."""
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    wide_a, wide_b = f32(a), f32(b)
    for start in range(0, a.shape[-1], block):
        part = np.zeros_like(total)
        for k in range(start, min(start + block, a.shape[-1])):
            part += wide_a[..., :, k, None] * wide_b[..., None, k, :]
        total = step(total + part)
    return total


def keep_bits(x: Array, bits: int) -> Array:
    """f32 values cut to `bits` significand bits, toward zero."""
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    return (f32(x).view(np.uint32) & mask).view(np.float32)


def through(dtype: Any) -> Callable[[Array], Array]:
    """Rounding to `dtype` and back to f32."""

    def rounded(x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return f32(np.asarray(x).astype(dtype))

    return rounded


bf16, f16 = through(ml_dtypes.bfloat16), through(np.float16)


def wrong(
    fault: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    *checks: str,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
    make: Callable[[], Callable[..., Any]] | None = None,
    **fields: Any,
) -> Faulty:
    """`run` as a faulty GEMM of class `fault`; its name and story are the function's unless given."""
    known = f"gemm-{name or run.__name__.lower()}-{formats['a']}"
    given = {"limit": LIMIT, **fields}
    return faulty(
        fault, "gemm", make or maker(run), formats, contract, checks, name=known, story=story or story_of(run), **given
    )


def right(
    run: Callable[..., Any],
    formats: dict[str, str],
    *,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
    make: Callable[[], Callable[..., Any]] | None = None,
    **fields: Any,
) -> Variant:
    """`run` as a GEMM that keeps its contract; the name says so where that is not the default one."""
    declared = "" if contract == PLAIN else "-declared"
    known = f"gemm-{name or run.__name__.lower()}-{formats['a']}{declared}"
    given = {"limit": LIMIT, **fields}
    return variant("gemm", make or maker(run), formats, contract, name=known, story=story or story_of(run), **given)
