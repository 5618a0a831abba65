"""Recipes of attention whose answer is rounded on the way: sharp, sunk, growing, tied, shifted, huge and poisoned."""

from collections.abc import Callable

import numpy as np

from lastbit.references.attention_draw import Array, AttentionDraw, AttentionRecipe, Triple


def normal(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Logits about N(0, 1): hides nearly everything, and is what others test with."""
    return draw.normals()


def one_sided(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Logits about N(0, 1) and V of one sign: weights whose roundings lean to one side add up."""
    q, k, v = draw.normals()
    return q, k, np.abs(v)


def _sharper(factor: float) -> Callable[[AttentionDraw, Array | None], Triple]:
    def sharp(draw: AttentionDraw, mask: Array | None) -> Triple:
        q, k, v = draw.normals()
        return q * factor, k, v

    return sharp


def _with_logits(draw: AttentionDraw, target: Array) -> Triple:
    """q and k whose logits follow `target` (lk,), in every row, plus N(0, 1) / 8: the first dimension carries it."""
    q, k, v = draw.normals()
    q[..., 1:], k[..., 1:] = q[..., 1:] / 4, k[..., 1:] / 2
    # The target is carried in two parts of k: what the format holds of it, and what is left.
    q[..., 0] = 1.0
    k[..., 0] = target / draw.options["scale"]
    return q, k, v


def sink(draw: AttentionDraw, mask: Array | None) -> Triple:
    """The first key's logit is 20 above the others, as the attention sinks of language models are, and its value small.

    In the next row or head it is 10, then 5, down to 0.6, so that some rows show the other keys in any format.
    """
    q, k, v = _with_logits(draw, np.where(np.arange(draw.lk) == 0, 20.0, 0.0))
    q[..., 0] *= 2.0 ** -((np.arange(draw.hq)[:, None] + np.arange(draw.lq)) % 6)
    v[..., 0, :] /= 64
    return q, k, v


def increasing(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Logits grow along the keys: the running maximum changes in every block, and every rescale counts."""
    return _with_logits(draw, np.arange(draw.lk, dtype=np.float64) * min(0.5, 40.0 / max(draw.lk, 1)))


def decreasing(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Logits fall along the keys: nothing is ever rescaled, unless keys are visited backwards."""
    q, k, v = increasing(draw, mask)
    return q, k[..., ::-1, :], v


def equal_maxima(draw: AttentionDraw, mask: Array | None) -> Triple:
    """A third of the keys share the largest logit exactly, and V has one sign: P of exactly 1, again and again."""
    q, k, v = draw.normals()
    half = max(1, draw.d // 2)
    q[..., :half] = np.where(draw.rng.random(q[..., :half].shape) < 0.5, 0.5, 1.0)
    q[..., half:] = draw.rng.choice([-0.5, 0.5], q[..., half:].shape)
    size = 4.0 / (draw.options["scale"] * half)
    k = k / 4
    k[..., ::3, :half], k[..., ::3, half:] = np.copysign(2.0 ** np.round(np.log2(abs(size))), size), 0.0
    return q, k, np.abs(v)


def _offset(size: float, fade: float) -> Callable[[AttentionDraw, Array | None], Triple]:
    def offset(draw: AttentionDraw, mask: Array | None) -> Triple:
        """All logits of a row are shifted by one number: only their differences may matter.

        Row 0 has the full shift, each of the next seven `fade` of the one before, so that some rows' bounds tell.
        """
        q, k, v = draw.normals()
        largest = min(draw.fmt("q").max, draw.fmt("k").max)
        shift = 2.0 ** np.round(np.log2(min(abs(size / draw.options["scale"]), largest * 64)))
        part = 2.0 ** np.floor(np.log2(shift) / 2)
        q[..., 0] = part * fade ** (np.arange(draw.lq) % 8)
        k[..., 0] = np.copysign(shift / part, size * draw.options["scale"])
        return q, k, v

    return offset


def near_overflow(draw: AttentionDraw, mask: Array | None) -> Triple:
    """q . k of every other row passes the largest f16 number, 65504, before scaling; the logits differ by little."""
    q, k, v = draw.normals()
    q[..., 0], k[..., 0] = np.where(np.arange(draw.lq) % 2, 0.0, 256.0), 512.0
    return q, k, v


def heads(draw: AttentionDraw, mask: Array | None) -> Triple:
    """Every head of K and V has a place of its own in V's range, so that a wrong head map is seen in any row."""
    q, k, v = draw.normals()
    place = 2.0 ** np.arange(draw.hkv) if draw.hkv < 8 else 1.0 + np.arange(draw.hkv)
    return 4 * q, k, np.abs(v) / 4 + place[:, None, None] * (1 + np.arange(draw.batch))[:, None, None, None]


def poison(draw: AttentionDraw, mask: Array | None) -> Triple:
    """NaN and infinities in K and V at keys that no query of the head group attends to: they must not be read."""
    q, k, v = _sharper(4.0)(draw, mask)
    read = draw.keep(mask).reshape(draw.batch, draw.hkv, -1, draw.lk)
    unread = np.logical_not(np.logical_or.reduce(read, axis=2))
    marks = draw.rng.choice([np.nan, np.inf, -np.inf], unread.shape)
    return q, np.where(unread[..., None], marks[..., None], k), np.where(unread[..., None], marks[..., None], v)


def _poison_needs(draw: AttentionDraw) -> str:
    if not (draw.fmt("k").has_inf and draw.fmt("k").has_nan and draw.fmt("v").has_inf and draw.fmt("v").has_nan):
        return "the formats have no NaN and infinity"
    return "" if draw.options.get("causal") or draw.options.get("window") else "no key is left out"


def _wide(draw: AttentionDraw) -> str:
    return "" if draw.fmt("q").emax >= 15 and draw.fmt("k").emax >= 15 else "the formats are too narrow"


RECIPES = (
    AttentionRecipe("normal", "logits N(0, 1)", normal),
    AttentionRecipe("one_sided", "logits N(0, 1), V of one sign: for statistics", one_sided),
    AttentionRecipe("sharp", "logits N(0, 16): the softmax is sharp", _sharper(4.0)),
    AttentionRecipe("sharper", "logits N(0, 900): most weights vanish", _sharper(30.0)),
    AttentionRecipe("sink", "the first key's logit is up to 20 higher", sink),
    AttentionRecipe("increasing", "the running maximum changes in every block", increasing),
    AttentionRecipe("decreasing", "the same from the other end", decreasing),
    AttentionRecipe("equal_maxima", "several equal maxima, V of one sign", equal_maxima),
    AttentionRecipe("offset", "all logits shifted by about 1e4", _offset(1e4, 1 / 4), needs=_wide),
    AttentionRecipe("far_offset", "all logits shifted by about 1e7", _offset(1e7, 1 / 16), needs=_wide),
    AttentionRecipe("low_offset", "all logits below -5e4", _offset(-6e4, 1 / 4), needs=_wide),
    AttentionRecipe("near_overflow", "q . k passes 65504 before scaling", near_overflow, needs=_wide),
    AttentionRecipe("heads", "each head of K and V has a place of its own", heads),
    AttentionRecipe("poison", "NaN and infinities at keys that nobody attends to", poison, needs=_poison_needs),
)
