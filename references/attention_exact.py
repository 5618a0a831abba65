"""Recipes of attention whose answer needs no rounding before the output: one key at a time, or the mean of 2^n."""

import numpy as np

from lastbit.references.attention_draw import Array, AttentionDraw, AttentionRecipe, Triple

#: Difference of logits whose weight is zero in f32, with its subnormals (2^-149 = exp(-103.3)), and well beyond.
GONE = 200.0
#: exp of a difference of this is zero in f64 too.
GONE_F64 = 1000.0


def one_hot(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Each query selects one kept key, all others' weights being zero in f32: the answer is a row of V, bit for bit.

    Key j is its number in bits, as signs; a query is the same signs. Which key a query selects differs by row, and the
    rows of V by key head.
    """
    q, k, v = np.zeros((draw.batch, draw.hq, draw.lq, draw.d)), draw.normals()[1], _distinct(draw)
    codes = _signs(draw)
    size = _power_above((GONE_F64 if draw.formats["out"] == "f64" else GONE) / (2 * abs(draw.options["scale"])))
    part = 2.0 ** np.floor(np.log2(size) / 2)
    k[...] = codes * (size / part)
    keep = draw.keep(mask)
    for b, h, i in np.ndindex(draw.batch, draw.hq, draw.lq):
        choices = np.flatnonzero(keep[b, h, i])
        if choices.size:
            chosen = choices[(7 * i + 3 * h + b) % choices.size]
            q[b, h, i] = codes[chosen] * (part * np.sign(draw.options["scale"]))
    return q, k, v


def uniform(draw: AttentionDraw, mask: Array | None) -> Triple:
    """q . k is exactly 0 for each of 2^n keys: the answer is the mean of V, small integers whose sum is exact.

    Exact in one pass, in tiles, and in splits of equal 2^m keys; other splits are combined with inexact logarithms.
    """
    q, k, _ = draw.normals()
    half = draw.d // 2
    q[..., half:], k[..., :half] = 0.0, 0.0
    # The sum of lk integers below 2^t needs t + log2(lk) bits; the mean is to be representable in the output.
    bits = max(1, min(draw.fmt("out").precision, 24) - int(np.log2(draw.lk)) - 1)
    limit = 2 ** min(bits, draw.fmt("v").precision, 6) - 1
    v = draw.rng.integers(-limit, limit + 1, (draw.batch, draw.hkv, draw.lk, draw.dv)).astype(np.float64)
    if bits == 1:  # too many keys for the sum of any integers: the mean must be an integer itself
        v[...] = v[..., :1, :]
    return q, k, v


def _distinct(draw: AttentionDraw) -> Array:
    """Values of the output's and V's grid, different in every row and head, with every significand bit in use."""
    bits = min(draw.fmt("v").precision, draw.fmt("out").precision)
    whole = draw.rng.integers(2 ** (bits - 1), 2**bits, (draw.batch, draw.hkv, draw.lk, draw.dv)) | 1
    values: Array = np.ldexp(whole.astype(np.float64), 1 - bits) * draw.rng.choice([-1.0, 1.0], whole.shape)
    return values


def _signs(draw: AttentionDraw) -> Array:
    """(lk, d): the key's number in binary, -1 and 1, repeated over the dimensions."""
    bits = max(1, int(draw.lk - 1).bit_length())
    places = np.arange(draw.d) % bits
    keys = np.arange(draw.lk)[:, None]
    return np.where(np.bitwise_and(np.right_shift(keys, places), 1) != 0, 1.0, -1.0)


def _power_above(x: float) -> float:
    return float(2.0 ** np.ceil(np.log2(x)))


def _one_hot_needs(draw: AttentionDraw) -> str:
    if draw.d < int(draw.lk - 1).bit_length():
        return f"{draw.d} dimensions cannot tell {draw.lk} keys apart"
    gone = GONE_F64 if draw.formats["out"] == "f64" else GONE
    if draw.options.get("softcap") or not draw.options["scale"]:
        return "a softcap, or a scale of 0, keeps every key's weight"
    size = _power_above(gone / (2 * abs(draw.options["scale"])))
    part = 2.0 ** np.floor(np.log2(size) / 2)
    return (
        "" if size / part <= draw.fmt("k").max and part <= draw.fmt("q").max else "the formats cannot hold such logits"
    )


def _uniform_needs(draw: AttentionDraw) -> str:
    if draw.options.get("causal") or draw.options.get("window") or draw.extras or draw.lk & (draw.lk - 1):
        return "every query must see the same 2^n keys"
    return "" if draw.d > 1 else "one dimension cannot be orthogonal"


RECIPES = (
    AttentionRecipe("one_hot", "each answer is a row of V, bit for bit", one_hot, exact=True, needs=_one_hot_needs),
    AttentionRecipe(
        "uniform",
        "uniform attention over 2^n keys (one pass, tiles, splits of equal 2^m)",
        uniform,
        exact=True,
        needs=_uniform_needs,
    ),
)
