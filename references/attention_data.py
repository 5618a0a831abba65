"""Test data for attention by name: operands as bit patterns and exact values, and the problem that they pose."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lastbit.references import attention_exact, attention_logits
from lastbit.references.attention_draw import AttentionDraw, AttentionRecipe
from lastbit.references.attention_mask import Problem
from lastbit.references.attention_packed import packed
from lastbit.references.data import Operand
from lastbit.references.formats import Format

Array = NDArray[np.float64]

#: Every recipe by name.
RECIPES: dict[str, AttentionRecipe] = {
    recipe.name: recipe for recipe in (*attention_logits.RECIPES, *attention_exact.RECIPES)
}


class Policies(Protocol):
    """What of a contract changes the answer."""

    @property
    def causal_alignment(self) -> str:
        """Contract.causal_alignment."""

    @property
    def masked_row(self) -> str:
        """Contract.masked_row."""


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
    policies (causal_alignment, masked_row). A mask of an integer format is boolean; of a packed batch (cu_seqlens_q,
    cu_seqlens_k) each sequence is on its own."""
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
    if contract is not None:
        found = replace(found, causal_alignment=contract.causal_alignment, masked_row=contract.masked_row)
    if "cu_seqlens_q" in operands:
        found = packed(found, *(operands[name].values.astype(np.int64) for name in ("cu_seqlens_q", "cu_seqlens_k")))
    return found


def reason_not(
    recipe: str,
    formats: Mapping[str, str],
    sizes: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    extras: tuple[str, ...] = (),
) -> str:
    """ "" if the recipe has data of these formats, sizes and options, else why not."""
    return RECIPES[recipe].needs(_draw(recipe, formats, sizes, 0, options, extras))


def _mask(draw: AttentionDraw) -> Array:
    """Keeps two thirds of the keys; the last row of a case with several keeps none, and neither does the first of more
    queries than keys: causality (bottom-right) hides every key of that row, too, so that each is hidden twice."""
    mask = (draw.rng.random((draw.batch, 1, draw.lq, draw.lk)) < 2 / 3).astype(np.float64)
    if draw.lq > 2:
        mask[:, :, -1] = 0.0
    if draw.lq > draw.lk:
        mask[:, :, 0] = 0.0
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
