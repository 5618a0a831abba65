"""What the right and the wrong KV appends of the zoo are made of: `store`, every step of which can be replaced."""

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.suites.zoo.specimen import Faulty, Variant, faulty, maker, variant

Array = Any


def divided(x: Array, scale: Array, dtype: Any) -> Array:
    """The quotients as codes."""
    return narrowed(x.astype(np.float32) / scale, dtype)


def narrowed(x: Array, dtype: Any) -> Array:
    """Rounded and saturated."""
    if dtype == np.int8:
        return np.clip(np.rint(x), -128, 127).astype(dtype)
    largest = np.float32(ml_dtypes.finfo(dtype).max)
    return np.clip(x, -largest, largest).astype(dtype)


def put(new: Array, slots: Array, codes: Array) -> None:
    """Tokens at their slots, one after the other."""
    flat_put(new, slots, codes, lambda slot, block, places: slot)


def flat_put(new: Array, slots: Array, codes: Array, where: Callable[[int, int, int], int]) -> None:
    """Tokens where `where` puts their slots."""
    pages, block = new.shape[:2]
    for token, slot in enumerate(slots):
        if slot >= 0:
            place = where(int(slot), block, pages * block) % (pages * block)
            new[place // block, place % block] = codes[token]


def store(
    k: Array,
    v: Array,
    k_cache: Array,
    v_cache: Array,
    slots: Array,
    *,
    k_scale: Array = None,
    v_scale: Array = None,
    inplace: bool = False,
    quantize: Callable[..., Array] = divided,
    write: Callable[[Array, Array, Array], None] = put,
    scales: Callable[[Array, Array], tuple[Array, Array]] = lambda a, b: (a, b),
) -> Any:
    """Both caches with the tokens in them; every step can be replaced."""
    new = (k_cache, v_cache) if inplace else (k_cache.copy(), v_cache.copy())
    chosen = (None, None) if k_scale is None else scales(k_scale, v_scale)
    for x, cache, scale in zip((k, v), new, chosen, strict=True):
        with np.errstate(all="ignore"):
            codes = x if scale is None else quantize(x, scale[:, None], cache.dtype)
        write(cache, slots, codes)
    return None if inplace else new


def by_reciprocal(x: Array, scale: Array, dtype: Any) -> Array:
    """Products with the reciprocal as codes."""
    return narrowed(x.astype(np.float32) * (np.float32(1) / scale), dtype)


def unclipped(x: Array, scale: Array, dtype: Any) -> Array:
    """Codes without saturation."""
    return (x.astype(np.float32) / scale).astype(dtype)


def turned(**steps: Any) -> Callable[..., Any]:
    """`store` with other steps."""
    return partial(store, **steps)


BF16 = {"k": "bf16", "v": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
F32 = {"k": "f32", "v": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
FP8 = {"k": "bf16", "v": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "e4m3fn"}
INT8 = {"k": "bf16", "v": "bf16", "k_cache": "i8", "v_cache": "i8", "out": "i8"}
SATURATING = Contract(overflow="saturate", scale_arithmetic="divide")
RECIPROCAL = Contract(overflow="saturate", scale_arithmetic="reciprocal")
FEATURES = frozenset({"scales", "head_scales", "padding"})
IN_PLACE = frozenset({"inplace"})
NONE: frozenset[str] = frozenset()


def wrong(
    fault: str,
    name: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    *checks: str,
    story: str,
    features: frozenset[str] = NONE,
) -> Faulty:
    """`run` as a faulty kernel of class `fault`."""
    known, every = f"kv_append-{name}-{formats['k_cache']}", FEATURES | features
    return faulty(fault, "kv_append", maker(run), formats, SATURATING, checks, name=known, story=story, features=every)


def right(
    name: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    *,
    story: str,
    contract: Contract = SATURATING,
    features: frozenset[str] = NONE,
) -> Variant:
    """`run` as a kernel that keeps its contract."""
    known, every = f"kv_append-{name}-{formats['k_cache']}", FEATURES | features
    return variant("kv_append", maker(run), formats, contract, name=known, story=story, features=every)
