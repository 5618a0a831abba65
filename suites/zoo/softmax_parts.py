"""What the right and the wrong softmaxes of the zoo are made of, on NumPy arrays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.specimen import Faulty, Variant, faulty, maker, story_of, variant

Array = Any
#: Block size that faults of tiles have.
TILE = 32
#: A function of the op and the logits (.., m, n).
Run = Callable[[str, Array], Array]
FEATURES = frozenset({"batch"})
LOG2_E = np.float32(1.4426950408889634)


def f32(x: Array) -> Array:
    """The values as f32."""
    return np.asarray(x).astype(np.float32)


def through(dtype: Any) -> Callable[[Array], Array]:
    """Rounding to `dtype` and back to f32."""
    return lambda x: f32(np.asarray(x).astype(dtype))


bf16, f16 = through(ml_dtypes.bfloat16), through(np.float16)


def top(x: Array) -> Array:
    """The maximum of each row, (.., 1)."""
    return x.max(axis=-1, keepdims=True)


def finish(op: str, x: Array, below: Array, weights: Array, total: Array) -> Array:
    """The result of `op` from x - max, the weights and their sum (.., 1), rounded once to x's type."""
    if op == "softmax":
        return (weights / total).astype(x.dtype)
    if op == "log_softmax":
        return (below - np.log(total)).astype(x.dtype)
    high = f32(x).max(axis=-1)
    return np.where(
        np.isinf(high), np.where(np.isnan(total[..., 0]) & (high < 0), -np.inf, high), high + np.log(total[..., 0])
    ).astype(x.dtype)


def honest(op: str, x: Array) -> Array:
    """f32 inside: the maximum off, exp, the sum in order, one rounding at the end."""
    below = f32(x) - top(f32(x))
    weights = np.exp(below)
    return finish(op, x, below, weights, np.cumsum(weights, axis=-1)[..., -1:])


def with_sum(step: Callable[[Array], Array]) -> Run:
    """A softmax whose partial sums of weights go through `step`."""

    def run(op: str, x: Array) -> Array:
        below = f32(x) - top(f32(x))
        weights = np.exp(below)
        total = np.zeros((*x.shape[:-1], 1), np.float32)
        for j in range(x.shape[-1]):
            total = step(total + weights[..., j : j + 1])
        return finish(op, x, below, weights, total)

    return run


def online(op: str, x: Array, *, tile: int = TILE, skip: str = "") -> Array:
    """Tiles in turn; the sum is rescaled when the maximum grows, but for the last tile's or the first's if skipped."""
    wide, n = f32(x), x.shape[-1]
    high = np.full((*x.shape[:-1], 1), -np.inf, np.float32)
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    for start in range(0, n, tile):
        part = wide[..., start : start + tile]
        larger = np.maximum(high, top(part))
        base = np.where(np.isneginf(larger), 0, larger)
        alpha = np.where(np.isneginf(high), 0, np.exp(high - base)).astype(np.float32)
        if (skip == "last" and start + tile >= n > tile) or (skip == "second" and start == tile):
            alpha = np.ones_like(alpha)
        total = total * alpha + np.exp(part - base).sum(axis=-1, keepdims=True, dtype=np.float32)
        high = larger
    below = wide - high
    return finish(op, x, below, np.exp(below), total)


F64 = {"x": "f64", "out": "f64"}
F32 = {"x": "f32", "out": "f32"}
F16 = {"x": "f16", "out": "f16"}
BF16 = {"x": "bf16", "out": "bf16"}
PLAIN = Contract(masked_row="nan", exp_ulp=4.0)
INVARIANT = Contract(masked_row="nan", exp_ulp=4.0, batch_invariant=True)
SOFTMAX, LOG, LSE = ("softmax",), ("log_softmax",), ("logsumexp",)
BOTH = SOFTMAX + LOG
ALL = BOTH + LSE


def wrong(
    fault: str,
    run: Callable[..., Any],
    ops: tuple[str, ...],
    formats: dict[str, str],
    *checks: str,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
    make: Callable[[], Run] | None = None,
) -> tuple[Faulty, ...]:
    """`run` as a faulty kernel of each op; its name and story are the function's unless given."""
    known, told = name or run.__name__.lower(), story or story_of(run)
    return tuple(
        faulty(
            fault,
            op,
            partial(_bound, op, make or maker(run)),
            formats,
            contract,
            checks,
            name=f"{op}-{known}-{formats['x']}",
            story=told,
            features=FEATURES,
        )
        for op in ops
    )


def right(
    run: Callable[..., Any],
    ops: tuple[str, ...],
    formats: dict[str, str],
    *,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
) -> tuple[Variant, ...]:
    """`run` as a kernel of each op that keeps its contract; the name says so where that is not the usual one."""
    known, told = name or run.__name__.lower(), story or story_of(run)
    declared = "" if contract == PLAIN else "-declared"
    return tuple(
        variant(
            op,
            partial(_bound, op, maker(run)),
            formats,
            contract,
            name=f"{op}-{known}-{formats['x']}{declared}",
            story=told,
            features=FEATURES,
        )
        for op in ops
    )


def _bound(op: str, make: Callable[[], Run]) -> Callable[[Array], Array]:
    run = make()

    def call(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return run(op, x)

    return call
