"""Test data for attention by name: recipes that make hard logits, exact answers, or keys that must not be read."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lastbit.references.attention_mask import Problem, kept
from lastbit.references.data import Operand
from lastbit.references.formats import Format

Array = NDArray[np.float64]

#: Difference of logits whose weight is zero in f32, with its subnormals (2^-149 = exp(-103.3)), and well beyond.
GONE = 200.0
#: exp of a difference of this is zero in f64 too.
GONE_F64 = 1000.0


class Policies(Protocol):
    """What of a contract changes the answer."""

    @property
    def causal_alignment(self) -> str:
        """Contract.causal_alignment."""

    @property
    def masked_row(self) -> str:
        """Contract.masked_row."""


@dataclass(frozen=True, slots=True)
class AttentionDraw:
    """Sizes, formats and options of a case, and the generator to draw from."""

    rng: np.random.Generator
    batch: int
    hq: int
    hkv: int
    lq: int
    lk: int
    d: int
    dv: int
    formats: Mapping[str, str]
    #: scale (a number, never None), causal, causal_alignment, window, softcap: as in Problem.
    options: Mapping[str, Any]
    #: Of "mask", "bias", "sinks", those that the call has.
    extras: tuple[str, ...] = ()

    def fmt(self, name: str) -> Format:
        """The format of an operand."""
        return Format.of(self.formats[name])

    def normals(self) -> tuple[Array, Array, Array]:
        """q, k and v from N(0, 1), so that logits are about N(0, 1) at scale 1/sqrt(d)."""
        shapes = (self.batch, self.hq, self.lq, self.d), (self.batch, self.hkv, self.lk, self.d)
        q, k = (self.rng.standard_normal(shape) for shape in shapes)
        return q, k, self.rng.standard_normal((self.batch, self.hkv, self.lk, self.dv))

    def keep(self, mask: Array | None = None) -> NDArray[np.bool_]:
        """Which keys each query attends to, (b, hq, lq, lk), by causal, window and a boolean `mask`."""
        shell = Problem(
            np.zeros((self.batch, self.hq, self.lq, self.d)),
            np.zeros((self.batch, self.hkv, self.lk, self.d)),
            np.zeros((self.batch, self.hkv, self.lk, self.dv)),
            causal=bool(self.options.get("causal")),
            causal_alignment=self.options.get("causal_alignment", "bottom-right"),
            window=self.options.get("window"),
            mask=None if mask is None else mask != 0,
        )
        rows = slice(0, self.lq)
        return np.array([[kept(shell, b, h, rows) for h in range(self.hq)] for b in range(self.batch)])


@dataclass(frozen=True, slots=True)
class AttentionRecipe:
    """A way to draw q, k and v: its name, what it is for, and whether one answer is right bit for bit."""

    name: str
    why: str
    draw: Callable[[AttentionDraw, Array | None], tuple[Array, Array, Array]]
    exact: bool = False
    #: "" if sizes, formats and options have what it needs, else why not.
    needs: Callable[[AttentionDraw], str] = lambda draw: ""


def operands(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    seed: int,
    *,
    extras: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> dict[str, Operand]:
    """q (b, hq, lq, d), k (b, hkv, lk, d), v (b, hkv, lk, dv), and of `extras` "mask" (b, 1, lq, lk; u8, not 0 keeps;
    additive if its format is a float), "bias" (1, hq, lq, lk) and "sinks" (hq,).

    sizes: batch (1), hq (1), hkv (hq), lq, lk, d, dv (d). options: scale, causal, causal_alignment, window, softcap, as
    the call has them: recipes that aim at kept or removed keys need them. The same arguments give the same bits.

    Raises KeyError for a recipe that RECIPES does not list.
    """
    draw = _draw(recipe, formats, sizes, seed, options, extras)
    values: dict[str, Array] = {}
    if "mask" in extras:
        values["mask"] = _mask(draw)
    triple = RECIPES[recipe].draw(draw, values.get("mask")) if draw.lq and draw.lk else draw.normals()
    for name, array in zip(("q", "k", "v"), triple, strict=True):
        values[name] = array
    if "mask" in extras and _is_float(formats.get("mask", "u8")):
        values["mask"] = np.where(
            values["mask"] != 0, draw.rng.choice([0.0, -0.5, 1.25], values["mask"].shape), -np.inf
        )
    if "bias" in extras:
        values["bias"] = draw.rng.standard_normal((1, draw.hq, draw.lq, draw.lk))
    if "sinks" in extras:
        values["sinks"] = draw.rng.standard_normal(draw.hq) + 1.0
    order = [name for name in ("q", "k", "v", "mask", "bias", "sinks") if name in values]
    return {name: Operand.of(values[name], _format(formats, name)) for name in order}


def problem_of(
    operands: Mapping[str, Operand], options: Mapping[str, Any], contract: Policies | None = None
) -> Problem:
    """The problem that `operands` pose under the call's options (scale, causal, window, softcap) and the contract's
    policies (causal_alignment, masked_row). A mask of an integer format is boolean."""
    mask = operands.get("mask")
    found = Problem(
        operands["q"].values,
        operands["k"].values,
        operands["v"].values,
        scale=options.get("scale"),
        causal=bool(options.get("causal", False)),
        causal_alignment=options.get("causal_alignment", "bottom-right"),
        window=options.get("window"),
        mask=None if mask is None else (mask.values if _is_float(mask.format) else mask.values != 0),
        bias=operands["bias"].values if "bias" in operands else None,
        softcap=float(options.get("softcap", 0.0)),
        sinks=operands["sinks"].values if "sinks" in operands else None,
    )
    if contract is None:
        return found
    return replace(found, causal_alignment=contract.causal_alignment, masked_row=contract.masked_row)


def reason_not(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    extras: tuple[str, ...] = (),
) -> str:
    """ "" if the recipe has data of these formats, sizes and options, else why not."""
    return RECIPES[recipe].needs(_draw(recipe, formats, sizes, 0, options, extras))


def normal(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """Logits about N(0, 1): hides nearly everything (numerics 1.12), and is what others test with."""
    return draw.normals()


def _sharper(factor: float) -> Callable[[AttentionDraw, Array | None], tuple[Array, Array, Array]]:
    def sharp(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
        q, k, v = draw.normals()
        return q * factor, k, v

    return sharp


def _with_logits(draw: AttentionDraw, target: Array) -> tuple[Array, Array, Array]:
    """q and k whose logits follow `target` (lk,), in every row, plus N(0, 1) / 8: the first dimension carries it."""
    q, k, v = draw.normals()
    q[..., 1:], k[..., 1:] = q[..., 1:] / 4, k[..., 1:] / 2
    # The target is carried in two parts of k: what the format holds of it, and what is left.
    q[..., 0] = 1.0
    k[..., 0] = target / draw.options["scale"]
    return q, k, v


def sink(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """The first key's logit is 20 above the others, as the attention sinks of language models are."""
    return _with_logits(draw, np.where(np.arange(draw.lk) == 0, 20.0, 0.0))


def increasing(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """Logits grow along the keys: the running maximum changes in every block, and every rescale counts."""
    return _with_logits(draw, np.arange(draw.lk, dtype=np.float64) * min(0.5, 40.0 / max(draw.lk, 1)))


def decreasing(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """Logits fall along the keys: nothing is ever rescaled, unless keys are visited backwards."""
    q, k, v = increasing(draw, mask)
    return q, k[..., ::-1, :], v


def equal_maxima(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """A third of the keys share the largest logit exactly, and V has one sign: P of exactly 1, again and again."""
    q, k, v = draw.normals()
    half = max(1, draw.d // 2)
    q[..., :half] = np.where(draw.rng.random(q[..., :half].shape) < 0.5, 0.5, 1.0)
    q[..., half:] = draw.rng.choice([-0.5, 0.5], q[..., half:].shape)
    top = np.zeros(draw.d)
    top[:half] = 4.0 / (draw.options["scale"] * half)
    k = k / 4
    k[..., ::3, :] = 2.0 ** np.round(np.log2(top, where=top > 0, out=np.zeros(draw.d))) * (top > 0)
    return q, k, np.abs(v)


def _offset(size: float) -> Callable[[AttentionDraw, Array | None], tuple[Array, Array, Array]]:
    def offset(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
        """All logits of a row are shifted by one number: only their differences may matter. Row 0 has the full shift,
        the following a quarter of it each, so that some rows' bounds still tell a wrong answer."""
        q, k, v = draw.normals()
        largest = min(draw.fmt("q").max, draw.fmt("k").max)
        shift = 2.0 ** np.round(np.log2(min(abs(size) / draw.options["scale"], largest * 64)))
        part = 2.0 ** np.floor(np.log2(shift) / 2)
        q[..., 0] = part * 4.0 ** -(np.arange(draw.lq) % 8)
        k[..., 0] = np.copysign(shift / part, size)
        return q, k, v

    return offset


def near_overflow(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """q . k passes the largest f16 number, 65504, before scaling; the logits differ by little."""
    q, k, v = draw.normals()
    part = 2.0 ** np.ceil(np.log2(np.sqrt(2.0**17 / draw.d)))
    return q / 8 + part, k / 8 + part, v


def one_hot(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
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


def uniform(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """q . k is exactly 0 for each of 2^n keys: the answer is the mean of V, small integers whose sum is exact."""
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


def heads(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """Every head of K and V has a place of its own in V's range, so that a wrong head map is seen in any row."""
    q, k, v = draw.normals()
    place = 2.0 ** np.arange(draw.hkv) if draw.hkv < 8 else 1.0 + np.arange(draw.hkv)
    return 4 * q, k, np.abs(v) / 4 + place[:, None, None] * (1 + np.arange(draw.batch))[:, None, None, None]


def poison(draw: AttentionDraw, mask: Array | None) -> tuple[Array, Array, Array]:
    """NaN and infinities in K and V at keys that no query of the head group attends to: they must not be read."""
    q, k, v = _sharper(4.0)(draw, mask)
    read = draw.keep(mask).reshape(draw.batch, draw.hkv, -1, draw.lk)
    unread = np.logical_not(np.logical_or.reduce(read, axis=2))
    marks = draw.rng.choice([np.nan, np.inf, -np.inf], unread.shape)
    return q, np.where(unread[..., None], marks[..., None], k), np.where(unread[..., None], marks[..., None], v)


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


def _mask(draw: AttentionDraw) -> Array:
    """Keeps two thirds of the keys; the last row of a case with several keeps none."""
    mask = (draw.rng.random((draw.batch, 1, draw.lq, draw.lk)) < 2 / 3).astype(np.float64)
    if draw.lq > 2:
        mask[:, :, -1] = 0.0
    return mask


def _draw(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    seed: int,
    options: Mapping[str, Any] | None,
    extras: tuple[str, ...],
) -> AttentionDraw:
    given = dict(options or {})
    d, hq = sizes["d"], sizes.get("hq", 1)
    if given.get("scale") is None:
        given["scale"] = float(1.0 / np.sqrt(d))
    text = f"{recipe} {sorted(formats.items())} {sorted(sizes.items())} {sorted(map(str, given.items()))}"
    return AttentionDraw(
        rng=np.random.default_rng([seed, zlib.crc32(text.encode())]),
        batch=sizes.get("batch", 1),
        hq=hq,
        hkv=sizes.get("hkv", hq),
        lq=sizes["lq"],
        lk=sizes["lk"],
        d=d,
        dv=sizes.get("dv", d),
        formats=formats,
        options=given,
        extras=extras,
    )


def _format(formats: Mapping[str, str], name: str) -> str:
    default = {"mask": "u8", "bias": formats["q"], "sinks": "f32"}
    return formats.get(name, default.get(name, formats["out"]))


def _is_float(fmt: str) -> bool:
    return Format.of(fmt).kind == "float"


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


def _poison_needs(draw: AttentionDraw) -> str:
    if not (draw.fmt("k").has_inf and draw.fmt("k").has_nan and draw.fmt("v").has_inf and draw.fmt("v").has_nan):
        return "the formats have no NaN and infinity"
    return "" if draw.options.get("causal") or draw.options.get("window") else "no key is left out"


def _wide(draw: AttentionDraw) -> str:
    return "" if draw.fmt("q").emax >= 15 and draw.fmt("k").emax >= 15 else "the formats are too narrow"


RECIPES: dict[str, AttentionRecipe] = {
    recipe.name: recipe
    for recipe in (
        AttentionRecipe("normal", "logits N(0, 1)", normal),
        AttentionRecipe("sharp", "logits N(0, 16): the softmax is sharp", _sharper(4.0)),
        AttentionRecipe("sharper", "logits N(0, 900): most weights vanish", _sharper(30.0)),
        AttentionRecipe("sink", "the first key's logit is 20 higher", sink),
        AttentionRecipe("increasing", "the running maximum changes in every block", increasing),
        AttentionRecipe("decreasing", "the same from the other end", decreasing),
        AttentionRecipe("equal_maxima", "several equal maxima, V of one sign", equal_maxima),
        AttentionRecipe("offset", "all logits shifted by about 1e4", _offset(1e4), needs=_wide),
        AttentionRecipe("far_offset", "all logits shifted by about 1e7", _offset(1e7), needs=_wide),
        AttentionRecipe("low_offset", "all logits below -5e4", _offset(-6e4), needs=_wide),
        AttentionRecipe("near_overflow", "q . k passes 65504 before scaling", near_overflow, needs=_wide),
        AttentionRecipe("heads", "each head of K and V has a place of its own", heads),
        AttentionRecipe("poison", "NaN and infinities at keys that nobody attends to", poison, needs=_poison_needs),
        AttentionRecipe("one_hot", "each answer is a row of V, bit for bit", one_hot, exact=True, needs=_one_hot_needs),
        AttentionRecipe("uniform", "uniform attention over 2^n keys", uniform, exact=True, needs=_uniform_needs),
    )
}
