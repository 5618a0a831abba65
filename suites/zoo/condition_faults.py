"""Softmaxes, scaled GEMMs, dequantizers, paged attentions and appends that are wrong under one condition only.

k mod 32 = 16, one more than a tile, few rows, groups of seven, one size of page, one call of three; elsewhere they are
right, bit for bit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit.suites.zoo import kv_append_parts, paged_parts, quantize_kernels, scaled_gemm_parts, softmax_parts
from lastbit.suites.zoo.conditions import OneCallIn, Run, where
from lastbit.suites.zoo.dequantize_parts import mxfp8
from lastbit.suites.zoo.kv_append_faults import drops_last as drops_last_token
from lastbit.suites.zoo.scaled_gemm_parts import FP8_ROW, MXFP8, Scheme, Sum
from lastbit.suites.zoo.softmax_faults import drops_last
from lastbit.suites.zoo.softmax_parts import ALL, BF16, F16, F32
from lastbit.suites.zoo.specimen import Faulty

Array = Any
Applies = Callable[..., bool]

# Softmax --------------------------------------------------------------------------------------------------------------


def _softmax(fault: str, name: str, formats: dict[str, str], applies: Applies, story: str) -> tuple[Faulty, ...]:
    run = where(lambda op, x: applies(*x.shape[-2:]), drops_last, softmax_parts.honest)
    told = f"The last column is not in the sum {story}."
    return softmax_parts.wrong(
        fault, run, ALL, formats, "tails", "exact", "bound", name=f"drops_last_{name}", story=told
    )


_SOFTMAX: tuple[Faulty, ...] = (
    *_softmax("F034", "if_half_tile", F32, lambda m, n: n % 32 == 16, "of 16 columns more than a multiple of 32"),
    *_softmax("F034", "if_one_over", BF16, lambda m, n: n == 33, "of one column more than a tile has"),
    *_softmax("F027", "if_few_rows", F16, lambda m, n: m <= 4, "of four rows and fewer"),
    *_softmax("F027", "if_wide", F32, lambda m, n: n > 1024, "of more than 1024 columns"),
    *softmax_parts.wrong(
        "F004",
        drops_last,
        ALL,
        F32,
        "repeat",
        "exact",
        name="drops_last_in_one_of_3",
        story="The last column is not in the sum in one call of three.",
        make=partial(OneCallIn, 3, drops_last, softmax_parts.honest),
    ),
)

# Scaled GEMM ----------------------------------------------------------------------------------------------------------


def last_missing(scheme: Scheme) -> Run:
    """The last product is missing."""
    right = Sum(scheme)

    def run(a: Array, b: Array, *scales: Array, **extra: Array) -> Array:
        a = a.copy()
        a.view(np.uint8)[:, -1:] = 0
        return right(a, b, *scales, **extra)

    return run


def _scaled(fault: str, name: str, scheme: Scheme, applies: Applies, story: str) -> Faulty:
    return scaled_gemm_parts.wrong(
        fault,
        lambda scheme: where(lambda a, b, *scales: applies(*a.shape), last_missing(scheme), Sum(scheme)),
        scheme,
        "exact",
        "tails",
        "bound",
        name=f"last_missing_{name}",
        story=f"The last product is missing {story}.",
    )


_SCALED: tuple[Faulty, ...] = (
    _scaled("F007", "if_half_tile", FP8_ROW, lambda m, k: k % 32 == 16, "where k is 16 more than a multiple of 32"),
    _scaled("F007", "if_one_over", MXFP8, lambda m, k: k % 32 == 1, "where k is one more than a multiple of 32"),
    _scaled("F027", "if_few_rows", FP8_ROW, lambda m, k: m <= 4, "for four rows and fewer"),
    scaled_gemm_parts.wrong(
        "F004",
        lambda scheme: OneCallIn(3, last_missing(scheme), Sum(scheme)),
        FP8_ROW,
        "exact",
        "repeat",
        name="last_missing_in_one_of_3",
        story="The last product is missing in one call of three.",
    ),
)

# Dequantizers ---------------------------------------------------------------------------------------------------------


def last_lost(codes: Array, scale: Array) -> Array:
    """The last column is left as zeros."""
    found = mxfp8(codes, scale)
    found[..., -1:] = 0
    return found


def _dequantized(fault: str, name: str, applies: Applies, story: str) -> Faulty:
    return quantize_kernels.wrong(
        fault,
        f"last_lost_{name}",
        where(lambda codes, scale: applies(*codes.shape[-2:]), last_lost, mxfp8),
        "mxfp8_e4m3",
        "f32",
        "tails",
        "exact",
        "placed",
        op="dequantize",
        story=f"The last column is left as zeros {story}.",
    )


_DEQUANTIZED: tuple[Faulty, ...] = (
    _dequantized("F008", "if_half_tile", lambda m, n: n % 32 == 16, "of 16 columns more than a multiple of 32"),
    _dequantized("F008", "if_one_over", lambda m, n: n % 32 == 1, "of one column more than a multiple of 32"),
    _dequantized("F027", "if_few_rows", lambda m, n: m <= 4, "of four rows and fewer"),
)

# Caches ---------------------------------------------------------------------------------------------------------------

_BLIND = paged_parts.turned(length=lambda n, s: max(1, int(n[s]) - 1))


def _paged(
    fault: str, name: str, run: Run, check: str, story: str, formats: dict[str, str] = paged_parts.BF16
) -> Faulty:
    return paged_parts.wrong(fault, name, run, formats, check, "exact", story=story)


def _length(applies: Callable[[int], bool]) -> Run:
    return paged_parts.turned(length=lambda n, s: int(n[s]) - (int(n[s]) > 1 and applies(int(n[s]))))


def interleaved_if_seven(hq: int, hkv: int) -> Array:
    """Query head h takes key head h mod hkv in groups of seven."""
    return np.arange(hq) % hkv if hq == 7 * hkv else np.arange(hq) // (hq // hkv)


_PAGED: tuple[Faulty, ...] = (
    _paged(
        "F007",
        "blind_if_half_tile",
        _length(lambda n: n % 32 == 16),
        "lengths",
        "The last token is not seen of 16 more than a multiple of 32.",
    ),
    _paged(
        "F042",
        "blind_if_one_over",
        _length(lambda n: n % 8 == 1),
        "lengths",
        "The last token is not seen where it is the first of a page of 8.",
    ),
    _paged(
        "F027",
        "blind_if_few",
        where(lambda q, *_: q.shape[0] <= 2, _BLIND, paged_parts.attend),
        "lengths",
        "The last token is not seen in batches of two sequences and fewer.",
    ),
    _paged(
        "F027",
        "blind_if_pages_of_16",
        where(lambda q, k, *_: k.shape[1] == 16, _BLIND, paged_parts.attend),
        "bound",
        "The last token is not seen where pages hold 16.",
    ),
    _paged(
        "F056",
        "interleaved_if_seven",
        paged_parts.turned(heads=interleaved_if_seven),
        "heads",
        "Query head h takes key head h mod hkv in groups of seven.",
    ),
    _paged(
        "F004",
        "blind_in_one_of_3",
        partial(OneCallIn, 3, _BLIND, paged_parts.attend),
        "repeat",
        "The last token is not seen in one call of three.",
        paged_parts.F32,
    ),
)
_DROPS = kv_append_parts.turned(write=drops_last_token)


def _append(fault: str, name: str, run: Run, story: str, *checks: str) -> Faulty:
    return kv_append_parts.wrong(
        fault,
        f"drops_last_{name}",
        run,
        kv_append_parts.BF16,
        *checks,
        "exact",
        story=f"The last token is not stored {story}.",
    )


def _tokens(applies: Callable[[int], bool]) -> Run:
    return where(lambda k, *_: applies(len(k)), _DROPS, kv_append_parts.store)


_APPENDED: tuple[Faulty, ...] = (
    _append("F058", "if_half_tile", _tokens(lambda n: n % 32 == 16), "of 16 tokens more than a multiple of 32"),
    _append("F058", "if_one_over", _tokens(lambda n: n % 8 == 1), "of one token more than pages of 8 hold"),
    _append("F027", "if_few", _tokens(lambda n: n <= 4), "of four tokens and fewer"),
    _append(
        "F027",
        "if_pages_of_16",
        where(lambda k, v, cache, *_: cache.shape[1] == 16, _DROPS, kv_append_parts.store),
        "where pages hold 16",
    ),
    _append("F004", "in_one_of_3", partial(OneCallIn, 3, _DROPS, kv_append_parts.store), "in one call of three"),
)

#: Every kernel of these ops that is wrong under one condition.
FAULTY: tuple[Faulty, ...] = (*_SOFTMAX, *_SCALED, *_DEQUANTIZED, *_PAGED, *_APPENDED)
