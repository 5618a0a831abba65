"""The part of the attention law that a backward pass answers to: its checks, with their cases."""

from collections.abc import Callable

from lastbit.case import Case, Check, Trial
from lastbit.suites import attention_gradients_checks as checks
from lastbit.suites.attention_cases import sizes
from lastbit.suites.attention_gradients_trial import has_gradients, has_ignored_keys
from lastbit.verdict import Verdict

_C = (("causal", 1),)

#: Sizes differ and divide no tile; few keys, for dQ is a difference of large sums where there are many.
VALUES = (
    Case("selected", sizes(9, 13, 20, hq=4, hkv=2, batch=2)),
    Case("normal", sizes(17, 11, 20, hq=6, hkv=2, batch=2, dv=12)),
    Case("sharp", sizes(33, 12, 8, hq=2)),
    Case("sharper", sizes(33, 12, 8, hq=2)),
    Case("sink", sizes(18, 12, 8, hq=2)),
    Case("increasing", sizes(18, 40, 8, hq=2)),
    Case("equal_maxima", sizes(9, 12, 8, hq=4, batch=3)),
    Case("sharp", sizes(9, 12, 8, hq=2), options=(("scale", 0.3),)),
    *(Case(recipe, sizes(40, 90, 32, hq=4, hkv=2), tier="standard") for recipe in ("normal", "sharp", "increasing")),
    Case("offset", sizes(40, 90, 32, hq=2), tier="standard"),
)

TAILS = (
    Case("selected", sizes("overtile", "undertile", hq=1)),
    Case("selected", sizes("undertile", "overtile", hq=1)),
    # Many numbers, for the bound of one alone may be too wide to tell anything.
    Case("sharp", sizes(1, "overtile", 8, hq=4, batch=3)),
    Case("sharp", sizes("overtile", 1, 8, hq=2)),
    Case("sharp", sizes(1, 1, 8)),
    # What whole tiles divide takes a path without remainders.
    Case("sharp", sizes(32, 32, 8)),
    Case("sharp", sizes(64, 128, 8)),
    Case("sharp", sizes(128, 48, 8)),
    *(Case("sharp", sizes(n, 65 - n, 24, hq=2), tier="standard") for n in (2, 15, 16, 17, 31, 32, 33, 63, 64)),
)

MASKS = (
    Case("sharp", sizes(17, 17, 8), options=_C),
    Case("sharp", sizes(5, 21, 8, hq=4, batch=2), options=_C),
    Case("sharp", sizes(21, 5, 8, hq=4, batch=2), options=_C),
    Case("sharp", sizes("overtile", "overtile", 8, hq=1), options=_C),
    Case("sharp", sizes(17, 17, 8), options=(*_C, ("window", "2:0"))),
    Case("sharp", sizes(9, 20, 8), options=(("window", "3:1"),)),
    Case("sharp", sizes(9, 21, 8, batch=2), options=(("mask", "keep"),)),
    Case("sharp", sizes(21, 5, 8), options=(*_C, ("mask", "keep"))),
    Case("sharp", sizes(9, 21, 8, batch=2), options=(("mask", "add"),)),
    *(Case("sharp", sizes(n, n, 24), options=_C, tier="standard") for n in (31, 33, 63, 65)),
)

_Q, _KV, _OUT = "q:transposed", "k:strided+v:interleaved", "grad_out:strided"
_WINDOW, _SCALE, _CAP = ("window", "6:2"), ("scale", 0.3), ("softcap", 5.0)
_KEEP, _ADD, _BIAS, _SINKS = ("mask", "keep"), ("mask", "add"), ("bias", "heads"), ("sinks", "heads")
#: Every two of gqa, causal, window, mask, bias, softcap, sinks, scale, dv != d, batch and strided meet in one.
COMBINED = (
    Case("sharp", sizes(9, 12, 8, hq=4, hkv=2), options=(*_C, _WINDOW, _SCALE)),
    Case("sharp", sizes(9, 12, 8, hq=2), options=(*_C, _SINKS)),
    Case("sharp", sizes(9, 12, 8, hq=2, batch=2), _Q, options=(_BIAS, _ADD, _SCALE, _CAP)),
    Case("sharp", sizes(9, 12, 8, hq=2, dv=12, batch=2), options=(*_C, _KEEP, _BIAS)),
    Case("sharp", sizes(9, 12, 8, hq=4, hkv=2, dv=12), _KV, options=(_BIAS, _SINKS, _WINDOW, _CAP)),
    Case("sharp", sizes(9, 12, 8, hq=4, hkv=2, batch=2), _OUT, options=(*_C, _CAP, _KEEP, _SINKS, _SCALE)),
    Case("sharp", sizes(9, 12, 8, hq=2, dv=12, batch=2), _Q, options=(_WINDOW, _KEEP, _SINKS, _SCALE)),
    Case("sharp", sizes(9, 12, 8, hq=4, hkv=2, batch=2), options=(_BIAS, _SINKS, _WINDOW, _ADD)),
    Case("sharp", sizes(9, 12, 8, hq=4, hkv=2, dv=12, batch=2), _OUT, options=(*_C, _SCALE, _CAP)),
)

FEATURES = (
    Case("sharp", sizes(9, 12, 8, hq=2), options=(("bias", "heads"),)),
    Case("sharp", sizes(9, 12, 8), options=(("softcap", 5.0),)),
    Case("sharp", sizes(9, 12, 8, hq=2), options=(("sinks", "heads"),)),
    Case("sharp", sizes(9, 12, 8, hq=14, hkv=2)),
    Case("sharp", sizes(9, 12, 8, hq=3, hkv=1, batch=3), options=_C),
    *COMBINED,
    Case("sharp", sizes(33, 40, 32, hq=8, hkv=2), options=(("softcap", 20.0), *_C), tier="standard"),
)

MASKED_VALUES = (
    Case("poison", sizes(4, 24, 8), options=(*_C, ("window", "2:0"))),
    Case("poison", sizes(4, 13, 8, hq=2, hkv=1), options=(("window", "3:1"),)),
)
SPECIAL = (Case("normal", sizes(6, 20, 8, hq=4, hkv=2, batch=2)),)
LAYOUTS = (
    Case("sharp", sizes(9, 12, 12, hq=4, hkv=2, batch=2), "q:transposed+grad_out:transposed"),
    Case("sharp", sizes(9, 12, 12, hq=4, hkv=2, batch=2), "k:strided+v:interleaved+grad_out:strided"),
    Case("sharp", sizes(9, 12, 12, hq=2), "grad_out:offset", tier="standard"),
)
LAWS = (Case("normal", sizes(9, 11, 12, hq=2, batch=2)), Case("normal", sizes(40, 70, 32), tier="standard"))
REPEAT = (Case("sharp", sizes(9, 24, hq=4, hkv=2)), Case("sharp", sizes(65, 200, 64, hq=4), tier="standard"))
SLICES = (Case("sharp", sizes(9, 24, hq=2, batch=3)),)
SECOND_CALL = (Case("sharp", sizes(9, 12, 8, hq=4)),)
#: So many queries that what an accumulator of 8 or 11 bits loses is more than its roundings allow.
LARGE = (
    Case("one_sided", sizes(8192, 2, 8, hq=2)),
    Case("sharp", sizes(512, 700, 64, hq=4, hkv=2), options=_C, tier="standard"),
)


def _check(
    name: str,
    over: tuple[Case, ...],
    judge: Callable[[Trial], Verdict],
    why: str,
    applies: Callable[[Trial], str] = has_gradients,
) -> Check:
    return Check(name, "attention", over, judge, applies, why)


CHECKS: tuple[Check, ...] = (
    _check(
        "gradients",
        VALUES,
        checks.values,
        "A gradient of q, k or v is further from the truth than the promised arithmetic can bring it.",
    ),
    _check(
        "gradients_tails",
        TAILS,
        checks.values,
        "The backward pass mishandles a remainder of a tile of queries or keys, or a single one of them.",
    ),
    _check(
        "gradients_masks",
        MASKS,
        checks.values,
        "The backward pass leaves out other keys than the forward pass, or an empty row has gradients.",
    ),
    _check(
        "gradients_features",
        FEATURES,
        checks.values,
        "The backward pass forgets a bias, the slope of a softcap, a sink, or a query head of a group.",
    ),
    _check(
        "gradients_masked_values",
        MASKED_VALUES,
        checks.values,
        "NaN or infinity of a key that is masked comes through in a gradient.",
        has_ignored_keys,
    ),
    _check(
        "gradients_special",
        SPECIAL,
        checks.special,
        "A NaN reaches gradients that it has no part in, or is lost.",
    ),
    _check(
        "gradients_layout",
        LAYOUTS,
        checks.values,
        "Strides or offsets of an operand or the upstream gradient are ignored.",
    ),
    _check(
        "gradients_laws",
        LAWS,
        checks.laws,
        "The gradients are not linear in the upstream one, or depend on the order of the keys.",
    ),
    _check(
        "gradients_large",
        LARGE,
        checks.long_sums,
        "Sums over many queries or keys are kept in a narrower format than promised, or lose a block.",
    ),
    _check("gradients_repeat", REPEAT, checks.repeat, "The same call gives other gradients, against the contract."),
    _check(
        "gradients_slices",
        SLICES,
        checks.slices,
        "A sequence's gradients depend on the others of the batch, against the contract; or are wrong alone.",
    ),
    _check(
        "gradients_second_call",
        SECOND_CALL,
        checks.second_call,
        "A result of an earlier call is remembered: other operands or upstream gradients give old gradients.",
    ),
)
