"""The paged KV cache: its layout, what its codes are worth, gathering it to dense keys and values, and appending."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Floats = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]
Indices = NDArray[np.int64]

#: A slot that is no place of the cache: the token is not stored (vLLM's padding of a batch).
NO_SLOT = -1
#: The numbers of a scale: x / scale and x * (1 / scale) are computed in this format before the code is rounded.
SCALE_FORMAT = "f32"
#: Integers of block tables, sequence lengths and slots.
INDEX_FORMAT = "i32"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which page holds which tokens: token t of sequence s lies in page block_table[s, t // block] at t % block.

    Entries of the table beyond a sequence's last page, and places of the last page beyond its last token, hold nothing.
    """

    #: (sequences, most pages of a sequence), page ids.
    block_table: Indices
    #: (sequences,), tokens of each sequence.
    seq_lens: Indices
    #: Tokens that a page holds.
    block: int

    def slots(self, sequence: int) -> Indices:
        """The places of a sequence's tokens, in order: page * block + place in the page."""
        tokens = np.arange(int(self.seq_lens[sequence]))
        places: Indices = self.block_table[sequence][tokens // self.block] * self.block + tokens % self.block
        return places

    def used(self, pages: int) -> NDArray[np.bool_]:
        """(pages, block): whether the place holds a token of some sequence."""
        used = np.zeros(pages * self.block, bool)
        for sequence in range(self.seq_lens.size):
            used[self.slots(sequence)] = True
        return used.reshape(pages, self.block)


def gather(pages: NDArray[Any], layout: Layout, sequence: int) -> NDArray[Any]:
    """The tokens of one sequence, (heads, tokens, size), of `pages` (pages, block, heads, size), of any dtype.

    Raises IndexError when the sequence's table names a page that is not there.
    """
    flat = pages.reshape(-1, *pages.shape[2:])
    return np.ascontiguousarray(flat[layout.slots(sequence)].swapaxes(0, 1))


def dequantized(codes: Codes, format: str, scale: Floats | None = None) -> Floats:
    """What the codes of a cache (.., heads, size) are worth: value * scale, exactly.

    `scale` holds numbers of f32, one for all (1,) or one for each head (heads,); None is 1. The product of a value of
    at most 11 bits and a scale of 24 is exact in float64 (no quantized format reaches its ends).
    NaN codes are NaN whatever the scale.
    """
    values = Format.of(format).decode(codes)
    return values if scale is None else values * scale[:, None]


def quantized(
    x: Floats, format: str, scale: Floats | None, *, arithmetic: str = "divide", overflow: str | None = None
) -> Codes:
    """The codes that an append writes for `x` (.., heads, size), exact values of the model's format.

    Without a scale one rounding of x to `format`. With one, first x / scale ("divide") or x * (1 / scale)
    ("reciprocal"), each operation rounded to f32, then one rounding to `format`, both to nearest even. x has at most
    the 24 bits of f32, so that its float64 quotient and product, rounded again to f32, are those of f32 arithmetic
    (53 >= 2 * 24 + 2: Figueroa, SIGNUM Newsletter 30 (1995)), away from f32's subnormals. NaN in a format without NaN
    becomes 0; `overflow` as Format.round.

    Raises ValueError for an unknown arithmetic.
    """
    if arithmetic not in ("divide", "reciprocal"):
        raise ValueError(f"arithmetic is {arithmetic!r}, expected 'divide' or 'reciprocal'")
    target, working = Format.of(format), Format.of(SCALE_FORMAT)
    if scale is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            if arithmetic == "divide":
                x = working.round(x / scale[:, None])
            else:
                x = working.round(x * working.round(1 / scale)[:, None])
    return target.encode(x, overflow=overflow, nan=None if target.has_nan else "zero")


def appended(cache: Codes, codes: Codes, slots: Indices) -> Codes:
    """`cache` (pages, block, heads, size) after `codes` (tokens, heads, size) are written at `slots`, in order.

    A slot is page * block + place; NO_SLOT (any negative one) writes nothing; of several tokens for one slot the last
    one stays. Every other place keeps its bits. `cache` itself is not changed.

    Raises IndexError for a slot beyond the cache.
    """
    new = cache.copy()
    flat = new.reshape(-1, *cache.shape[2:])
    for token, slot in enumerate(slots):
        if slot >= 0:
            flat[int(slot)] = codes[token]
    return new


def contenders(slots: Indices) -> dict[int, tuple[int, ...]]:
    """The tokens that are written to each slot, in order; a slot with several may keep any one of them, whole."""
    found: dict[int, tuple[int, ...]] = {}
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            found[slot] = (*found.get(slot, ()), token)
    return found


def signal_to_noise_db(original: Floats, stored: Floats) -> float:
    """10 log10(sum original^2 / sum (stored - original)^2): what storing in a narrow format costs; inf if nothing.

    A report's number, not a budget's: plain float64 arithmetic. NaN if there is no signal.
    """
    noise = float(np.square(stored - original).sum())
    signal = float(np.square(original).sum())
    if not noise:
        return float("inf") if signal else float("nan")
    return float(10 * np.log10(signal / noise))


def layout_of(operands: Mapping[str, Floats], block: int) -> Layout:
    """The layout that the values of operands "block_table" and "seq_lens" describe."""
    table, lengths = (operands[name].astype(np.int64) for name in ("block_table", "seq_lens"))
    return Layout(table, lengths, block)
