"""Attention kernels simulated in NumPy's float32, honest and faulty: one pass, online with tiles, split keys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention_mask import Problem, addends, kept
from lastbit.references.formats import Format

Array = NDArray[np.float64]
Singles = NDArray[np.float32]

#: Faults that a bound can see; "truncated" weights are for statistics.
FAULTS = ("last_key", "rescale", "scores_bf16", "out_bf16", "causal", "exp", "head_map", "scale_twice", "split")


@dataclass(frozen=True, slots=True)
class Style:
    """How a kernel goes about it, and what is wrong with it."""

    #: Keys in a tile; 0: all at once.
    tile: int = 0
    splits: int = 1
    reverse: bool = False
    #: exp2 of logits times log2(e), less the maximum times it, each rounded.
    exp2: bool = False
    #: exp2(fma(x, c, -RN(m c))), also for rescales: each maximum is rounded where it is used.
    fma: bool = False
    #: Weigh splits by exp(lse_s - lse) and do not divide again.
    lse_scale: bool = False
    #: All errors of exp have one sign.
    biased: bool = False
    #: Scale by its root on q and k.
    root_scale: bool = False
    #: Divide the weights by their sum before they meet V.
    early: bool = False
    #: Let the denominator be the sum of the rounded weights.
    rounded_sum: bool = False
    #: Format of the weights; "" is f32.
    probabilities: str = ""
    #: Errors of exp, in ulp of f32, up to this.
    exp_ulp: float = 1.5
    fault: str = ""


def simulate(problem: Problem, style: Style, out: str = "f32", seed: int = 0) -> tuple[Array, Array]:
    """The result rounded to `out` (b, hq, lq, dv), and the log-sum-exp in f32 (b, hq, lq)."""
    random = np.random.default_rng(seed)
    result, lse = np.zeros(problem.shape), np.zeros(problem.shape[:3])
    with np.errstate(all="ignore"):
        for batch in range(problem.shape[0]):
            for head in range(problem.heads):
                result[batch, head], lse[batch, head] = _head(problem, style, batch, head, random)
    return Format.of(out).round(result), lse


def _head(
    problem: Problem, style: Style, batch: int, head: int, random: np.random.Generator
) -> tuple[Singles, Singles]:
    group = problem.key_head(head)
    if style.fault == "head_map":
        group = head % problem.k.shape[1]
    scores = _scores(problem, style, batch, head, group)
    values = np.nan_to_num(problem.v[batch, group].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    keys = np.arange(scores.shape[1])[:: -1 if style.reverse else 1]
    parts = [_online(style, scores[:, part], values[part], random) for part in np.array_split(keys, style.splits)]
    if problem.sinks is not None:
        m = np.full(scores.shape[0], problem.sinks[head], np.float32)
        parts.append((m, np.ones_like(m), np.zeros((m.size, values.shape[1]), np.float32)))
    if len(parts) > 1:
        m, total, summed = _combined(style, parts, random)
    else:
        m, total, summed = parts[0]
    empty = ~(total > 0)
    out = np.where(empty[:, None], np.float32(0), summed / np.where(empty, np.float32(1), total)[:, None])
    return out, np.where(empty, np.float32(-np.inf), m + np.log(total))


def _scores(problem: Problem, style: Style, batch: int, head: int, group: int) -> Singles:
    rows = slice(0, problem.scores[2])
    q = np.nan_to_num(problem.q[batch, head].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    k = np.nan_to_num(problem.k[batch, group].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    factor = np.float32(problem.factor)
    if style.root_scale:
        root = np.sqrt(np.abs(factor))
        scores = (q * np.copysign(root, factor)) @ (k * root).T
    else:
        scores = (q @ k.T) * factor
    if style.fault == "scale_twice":
        scores = scores * factor
    if problem.softcap:
        cap = np.float32(problem.softcap)
        scores = cap * np.tanh(scores / cap)
    for extra in addends(problem, batch, head, rows):
        scores = scores + extra.astype(np.float32)
    if style.fault == "scores_bf16":
        scores = Format.of("bf16").round(scores.astype(np.float64)).astype(np.float32)
    keep = kept(problem, batch, head, rows)
    if style.fault == "causal":
        keep = np.concatenate([keep[1:], keep[-1:]])
    if style.fault == "last_key":
        last = keep.shape[1] - 1 - np.argmax(keep[:, ::-1], axis=1)
        keep[np.arange(len(last)), last] &= keep.sum(1) < 2
    return np.where(keep, scores, np.float32(-np.inf))


def _online(
    style: Style, scores: Singles, values: Singles, random: np.random.Generator
) -> tuple[Singles, Singles, Singles]:
    """Maximum, sum and unnormalised result, tile by tile."""
    rows, keys = scores.shape
    m = np.full(rows, -np.inf, np.float32)
    total = np.zeros(rows, np.float32)
    summed = np.zeros((rows, values.shape[1]), np.float32)
    tile = style.tile or max(keys, 1)
    for start in range(0, keys, tile):
        some = scores[:, start : start + tile]
        new = np.maximum(m, some.max(1))
        base = np.where(np.isfinite(new), new, np.float32(0))
        alpha = _exp(style, m, base, random)
        p = _exp(style, some, base[:, None], random)
        if style.early and tile >= keys and style.splits == 1:
            s = p.sum(1)
            p = p / np.where(s > 0, s, np.float32(1))[:, None]
            base = base + np.log(np.where(s > 0, s, np.float32(1)))
        cast = p
        if style.probabilities:
            mode = "toward-zero" if style.fault == "truncated" else "nearest-even"
            cast = Format.of(style.probabilities).round(p.astype(np.float64), rounding=mode).astype(np.float32)
        last = start + tile >= keys
        total = total * alpha + (cast if style.rounded_sum else p).sum(1)
        rescaled = summed if style.fault == "rescale" and last else summed * alpha[:, None]
        summed = rescaled + cast @ values[start : start + tile]
        if style.fault == "out_bf16":
            summed = Format.of("bf16").round(summed.astype(np.float64)).astype(np.float32)
        m = np.where(np.isfinite(new), base, m)
    return m, total, summed


def _combined(
    style: Style, parts: list[tuple[Singles, Singles, Singles]], random: np.random.Generator
) -> tuple[Singles, Singles, Singles]:
    """Splits that were divided by their own sums, weighed by their log-sum-exps."""
    lse = np.stack([np.where(total > 0, m + np.log(total), np.float32(-np.inf)) for m, total, _ in parts])
    top = lse.max(0)
    top = np.where(np.isfinite(top), top, np.float32(0))
    if style.fault == "split":
        lse = np.stack([m for m, _, _ in parts])
    if style.lse_scale:
        some = _exp(style, lse, top[None], random).sum(0)
        top = top + np.log(np.where(some > 0, some, np.float32(1)))
    weights = _exp(style, lse, top[None], random)
    summed = np.zeros_like(parts[0][2])
    for weight, (_, total, part) in zip(weights, parts, strict=True):
        summed = summed + weight[:, None] * (part / np.where(total > 0, total, np.float32(1))[:, None])
    total = weights.sum(0)
    return top, np.where(total > 0, np.float32(1), total) if style.lse_scale else total, summed


def _exp(style: Style, x: Singles, base: Singles, random: np.random.Generator) -> Singles:
    """exp(x - base) in f32 with errors of up to `exp_ulp`; 0 at -inf and exact at 0."""
    if style.fma:
        c = np.float32(1.4426950408889634)
        exact = np.exp2((x.astype(np.float64) * c - base * c).astype(np.float32).astype(np.float64))
    elif style.exp2:
        c = np.float32(1.4426950408889634)
        exact = np.exp2((x * c - base * c).astype(np.float64))
    else:
        exact = np.exp((x - base).astype(np.float64))
    size = 2.0**-6 if style.fault == "exp" else (style.exp_ulp - 0.5) * 2.0**-24
    noise = 1 + size * (1.0 if style.biased else random.uniform(-1, 1, exact.shape))
    return np.where(exact == 1.0, 1.0, exact * noise).astype(np.float32)
