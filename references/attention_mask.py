"""Which keys a query attends to, and what is added to its logits: causal, window, masks, bias, ALiBi, head groups."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALIGNMENTS = ("top-left", "bottom-right")


@dataclass(frozen=True, slots=True)
class Problem:
    """One attention call: exact operands and every option that changes the answer.

    The logit of query i and key j is x = scale * q_i . k_j, then softcap * tanh(x / softcap) where softcap > 0, then
    plus bias, plus an additive mask. Query heads share key heads in consecutive groups: head h reads h // (hq / hkv).

    Raises ValueError when shapes or options do not fit together.
    """

    #: (b, hq, lq, d), (b, hkv, lk, d), (b, hkv, lk, dv), float64 holding exact values.
    q: Array
    k: Array
    v: Array
    #: None: 1 / sqrt(d).
    scale: float | None = None
    #: Key j is kept if j <= i + shift; shift is lk - lq ("bottom-right": the last query sees all), or 0 ("top-left").
    causal: bool = False
    causal_alignment: str = "bottom-right"
    #: (left, right): keys from i + shift - left to i + shift + right are kept; negative: no limit on that side.
    window: tuple[int, int] | None = None
    #: Broadcasts to (b, hq, lq, lk): boolean, True keeps; or float64, added (-inf removes the key).
    mask: NDArray[np.bool_] | Array | None = None
    #: Broadcasts to (b, hq, lq, lk), added (-inf removes the key).
    bias: Array | None = None
    #: 0: none.
    softcap: float = 0.0
    #: (hq,): a further logit of each row that has no value: it only takes part in the denominator (and in lse).
    sinks: Array | None = None
    #: Result of a row without any kept key (and without sink): "zero" or "nan"; its lse is -inf.
    masked_row: str = "zero"
    #: scale as used.
    factor: float = field(init=False)

    def __post_init__(self) -> None:
        if self.q.ndim != 4 or self.k.ndim != 4 or self.v.ndim != 4:
            raise ValueError(f"q {self.q.shape}, k {self.k.shape}, v {self.v.shape}: expected four dimensions each")
        fits = self.q.shape[0] == self.k.shape[0] and self.q.shape[3] == self.k.shape[3]
        fits &= self.k.shape[:3] == self.v.shape[:3] and self.k.shape[1] > 0 and self.heads % self.k.shape[1] == 0
        if not fits:
            raise ValueError(
                f"q {self.q.shape}, k {self.k.shape}, v {self.v.shape} do not fit: expected (b, hq, lq, d), "
                "(b, hkv, lk, d), (b, hkv, lk, dv) with hq a multiple of hkv"
            )
        if self.causal_alignment not in ALIGNMENTS:
            raise ValueError(f"causal_alignment is {self.causal_alignment!r}, expected one of {', '.join(ALIGNMENTS)}")
        if self.masked_row not in ("zero", "nan"):
            raise ValueError(f"masked_row is {self.masked_row!r}, expected 'zero' or 'nan'")
        for name, addend in (("mask", self.mask), ("bias", self.bias)):
            if addend is not None:
                fitting(name, addend, self.scores)
        if self.sinks is not None and self.sinks.shape != (self.heads,):
            raise ValueError(f"sinks has shape {self.sinks.shape}, expected ({self.heads},)")
        factor = 1.0 / np.sqrt(self.q.shape[3]) if self.scale is None else self.scale
        if not np.isfinite(factor) or not self.softcap >= 0:
            raise ValueError(f"scale = {factor!r}, softcap = {self.softcap!r}: expected finite and not negative")
        object.__setattr__(self, "factor", float(factor))

    @property
    def heads(self) -> int:
        """Query heads."""
        return int(self.q.shape[1])

    @property
    def scores(self) -> tuple[int, int, int, int]:
        """(b, hq, lq, lk)."""
        return (*self.q.shape[:3], self.k.shape[2])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the result: (b, hq, lq, dv)."""
        return (*self.q.shape[:3], self.v.shape[3])

    def key_head(self, head: int) -> int:
        """The key head that query head `head` reads."""
        return head // (self.heads // int(self.k.shape[1]))


def fitting(name: str, addend: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """`addend` broadcast to `shape`; ValueError, naming it, if it does not."""
    try:
        return np.broadcast_to(addend, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {addend.shape}, expected one that broadcasts to {shape}") from None


def positions(problem: Problem, rows: slice) -> NDArray[np.int64]:
    """Where each query stands among the keys, by the alignment: i, or i + lk - lq."""
    lq, lk = problem.scores[2:]
    shift = lk - lq if problem.causal_alignment == "bottom-right" else 0
    where: NDArray[np.int64] = np.arange(lq, dtype=np.int64)[rows] + shift
    return where


def kept(problem: Problem, batch: int, head: int, rows: slice) -> Mask:
    """Which keys each query of `rows` attends to, (rows, lk): causal, window, boolean mask, and -inf addends."""
    at, keys = positions(problem, rows)[:, None], np.arange(problem.scores[3])[None, :]
    keep = np.ones((at.shape[0], keys.shape[1]), bool)
    if problem.causal:
        keep &= keys <= at
    if problem.window is not None:
        left, right = problem.window
        if left >= 0:
            keep &= keys >= at - left
        if right >= 0:
            keep &= keys <= at + right
    for name, addend in (("mask", problem.mask), ("bias", problem.bias)):
        if addend is not None:
            part = fitting(name, addend, problem.scores)[batch, head, rows]
            keep &= part if part.dtype == np.bool_ else part != -np.inf
    return keep


def addends(problem: Problem, batch: int, head: int, rows: slice) -> list[Array]:
    """What is added to the logits of `rows`, (rows, lk) each; removed keys' entries mean nothing but are finite."""
    found = []
    for name, addend in (("bias", problem.bias), ("mask", problem.mask)):
        if addend is not None and addend.dtype != np.bool_:
            part = np.asarray(fitting(name, addend, problem.scores)[batch, head, rows], np.float64)
            found.append(np.where(part == -np.inf, 0.0, part))
    return found


def alibi_slopes(heads: int) -> Array:
    """2^(-8 (h + 1) / heads): the slopes of ALiBi for a power of two of heads; (heads,).

    Source: Press, Smith and Lewis, ICLR 2022.
    """
    slopes: Array = np.exp2(-8.0 * np.arange(1, heads + 1) / heads)
    return slopes


def alibi(slopes: Array, lq: int, lk: int, *, alignment: str = "bottom-right") -> Array:
    """The bias -slope * |position of the query - j|, (1, heads, lq, lk)."""
    shift = lk - lq if alignment == "bottom-right" else 0
    distance = np.abs(np.arange(lq)[:, None] + shift - np.arange(lk)[None, :])
    bias: Array = -slopes[None, :, None, None] * distance
    return bias


def lengths_mask(lengths: NDArray[np.int64], lk: int) -> Mask:
    """The boolean mask of a padded batch, (b, 1, 1, lk): sequence b has `lengths[b]` keys."""
    mask: Mask = (np.arange(lk)[None, :] < np.asarray(lengths)[:, None])[:, None, None, :]
    return mask
