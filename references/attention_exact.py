"""Recipes of attention whose answer needs no rounding before the output: one key at a time, or the mean of 2^n."""

import numpy as np

from lastbit.references.attention_draw import Array, AttentionDraw, AttentionRecipe, Triple

#: Difference of logits whose weight is zero in f32, with its subnormals (2^-149 = exp(-103.3)), and well beyond.
GONE = 200.0
#: exp of a difference of this is zero in f64 too.
GONE_F64 = 1000.0


def one_hot(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Each query selects one kept key, all others' weights being zero in f32: the answer is a row of V, bit for bit.

    Key j is its number in bits, as signs; a query is the same signs, and one more dimension subtracts their number: the
    selected logit is exactly 0 and all others are far below, so that no kernel rounds a maximum. Which key a query
    selects differs by row, and the rows of V by key head.
    """
    q, k, v = np.zeros((draw.batch, draw.hq, draw.lq, draw.d)), draw.normals()[1], _distinct(draw)
    count, q_size, k_size = _plan(draw)
    codes = _signs(draw, count)
    k[...] = 0.0
    k[..., :count], k[..., -1] = codes * k_size, -k_size * count
    keep = draw.keep(mask)
    for b, h, i in np.ndindex(draw.batch, draw.hq, draw.lq):
        choices = np.flatnonzero(keep[b, h, i])
        if choices.size:
            chosen = choices[(7 * i + 3 * h + b) % choices.size]
            q[b, h, i, :count], q[b, h, i, -1] = codes[chosen] * q_size, q_size
    return q, k, v


def selected(draw: AttentionDraw, mask: Array | None) -> Triple:
    """`one_hot` in which every product of the selected logit is 0, so that it is 0 in any arithmetic, scaled anyhow.

    A backward pass that recomputes a logit in another way than the forward pass finds the same weights, 0 and 1. Each
    bit of a key's number takes two dimensions, of which the query asks for the one that the key leaves at 0.
    """
    bits, size = _bits(draw), _step(draw)
    number = np.arange(draw.lk)[:, None] >> np.arange(bits) & 1
    part = 2.0 ** np.floor(np.log2(size) / 2)
    q, k = np.zeros((draw.batch, draw.hq, draw.lq, draw.d)), np.zeros((draw.batch, draw.hkv, draw.lk, draw.d))
    k[..., : 2 * bits] = -size / part * np.concatenate([1 - number, number], axis=1)
    keep = draw.keep(mask)
    for b, h, i in np.ndindex(draw.batch, draw.hq, draw.lq):
        choices = np.flatnonzero(keep[b, h, i])
        if choices.size:
            bit = number[choices[(7 * i + 3 * h + b) % choices.size]]
            q[b, h, i, : 2 * bits] = np.sign(draw.options["scale"]) * part * np.concatenate([bit, 1 - bit])
    return q, k, _distinct(draw)


def uniform(draw: AttentionDraw, mask: Array | None) -> Triple:
    """q . k is exactly 0 for each of 2^n keys: the answer is the mean of V, small integers whose sum is exact.

    V is c + w_j and c - w_j in the two halves of the keys, so that the mean is an integer again. Exact in one pass, in
    tiles, and in splits of equal 2^m keys; other splits, or weights exp(lse_s - lse), are not exact.
    """
    q, k, _ = draw.normals()
    half = draw.d // 2
    q[..., half:], k[..., :half] = 0.0, 0.0
    limit = 2 ** (min(draw.fmt("v").precision, draw.fmt("out").precision, 5) - 1) - 1
    shape, some = (draw.batch, draw.hkv, 1, draw.dv), draw.lk // 2
    mean = draw.rng.integers(1, limit + 1, shape) * draw.rng.choice([-1, 1], shape)
    away = draw.rng.integers(-limit - 1, limit + 2, (*shape[:2], some, draw.dv))
    away = np.concatenate([away, np.zeros((*shape[:2], draw.lk % 2, draw.dv), np.int64), -away], axis=2)
    return q, k, (mean + away).astype(np.float64)


def _distinct(draw: AttentionDraw) -> Array:
    """Values of the output's and V's grid, different in every row and head, with every significand bit in use."""
    bits = min(draw.fmt("v").precision, draw.fmt("out").precision)
    whole = draw.rng.integers(2 ** (bits - 1), 2**bits, (draw.batch, draw.hkv, draw.lk, draw.dv)) | 1
    values: Array = np.ldexp(whole.astype(np.float64), 1 - bits) * draw.rng.choice([-1.0, 1.0], whole.shape)
    return values


def _plan(draw: AttentionDraw) -> tuple[int, float, float]:
    """Dimensions that carry signs, and the sizes of q and k: one sign more or less is worth GONE.

    Their number times a power of two must be a value of k's format.
    """
    size = _step(draw) / 2
    part = 2.0 ** np.floor(np.log2(size) / 2)
    count = draw.d - 1
    while count > 2 ** draw.fmt("k").precision:
        count -= 1
    return count, float(part * np.sign(draw.options["scale"])), float(size / part)


def _step(draw: AttentionDraw) -> float:
    """The power of two that, scaled, is a difference of logits of at least GONE."""
    gone = GONE_F64 if draw.formats["out"] == "f64" else GONE
    return float(2.0 ** np.ceil(np.log2(gone / abs(draw.options["scale"]))))


def _bits(draw: AttentionDraw) -> int:
    """Bits of the largest key's number, at least one."""
    return max(1, int(draw.lk - 1).bit_length())


def _signs(draw: AttentionDraw, count: int) -> Array:
    """(lk, count): the key's number in binary, -1 and 1, repeated over the dimensions."""
    bits = _bits(draw)
    places = np.arange(count) % bits
    keys = np.arange(draw.lk)[:, None]
    return np.where(np.bitwise_and(np.right_shift(keys, places), 1) != 0, 1.0, -1.0)


def _one_hot_needs(draw: AttentionDraw) -> str:
    if draw.options.get("softcap") or not draw.options["scale"]:
        return "a softcap, or a scale of 0, keeps every key's weight"
    if {"bias", "sinks"} & set(draw.extras) or ("mask" in draw.extras and draw.formats.get("mask", "u8") != "u8"):
        return "addends and sinks move the logits"
    count, q_size, k_size = _plan(draw)
    if count < _bits(draw):
        return f"{draw.d} dimensions cannot tell {draw.lk} keys apart"
    held = k_size * count <= draw.fmt("k").max and abs(q_size) <= draw.fmt("q").max
    return "" if held else "the formats cannot hold such logits"


def _selected_needs(draw: AttentionDraw) -> str:
    reason = _one_hot_needs(draw)
    return reason or ("" if 2 * _bits(draw) <= draw.d else f"{draw.d} dimensions cannot tell {draw.lk} keys apart")


def _uniform_needs(draw: AttentionDraw) -> str:
    if draw.options.get("causal") or draw.options.get("window") or draw.extras or draw.lk & (draw.lk - 1):
        return "every query must see the same 2^n keys"
    return "" if draw.d > 1 else "one dimension cannot be orthogonal"


RECIPES = (
    AttentionRecipe("one_hot", "each answer is a row of V, bit for bit", one_hot, exact=True, needs=_one_hot_needs),
    AttentionRecipe(
        "selected",
        "one_hot, with products of 0 in the selected logit",
        selected,
        exact=True,
        needs=_selected_needs,
    ),
    AttentionRecipe(
        "uniform",
        "uniform attention over 2^n keys (one pass, tiles, splits of equal 2^m)",
        uniform,
        exact=True,
        needs=_uniform_needs,
    ),
)
