"""The law of attention: its checks, each with its cases and what a failure of it means."""

from collections.abc import Callable

from lastbit.case import Case, Check, Trial
from lastbit.suites import attention_cases as cases
from lastbit.suites import (
    attention_gradients,
    attention_gradients_hunt,
    attention_hunt,
    attention_laws,
    attention_packed,
    attention_packed_hunt,
    attention_structure,
    attention_values,
)
from lastbit.suites.attention_trial import has_data
from lastbit.suites.hunt import has_hunt
from lastbit.suites.trials import lacking
from lastbit.verdict import Verdict


def _check(
    name: str,
    over: tuple[Case, ...],
    judge: Callable[[Trial], Verdict],
    why: str,
    applies: Callable[[Trial], str] = has_data,
) -> Check:
    return Check(name, "attention", over, judge, applies, why)


_result = attention_values.result

CHECKS: tuple[Check, ...] = (
    _check(
        "exact",
        cases.EXACT,
        _result,
        "Where one key has all the weight, or all have the same, a bit differs: an index, a head or a key is wrong.",
    ),
    _check(
        "tails",
        cases.TAILS,
        _result,
        "A remainder of a tile of queries, keys or dimensions, or a single one of them, is mishandled.",
    ),
    _check(
        "bound",
        cases.BOUND,
        _result,
        "An element, or a log-sum-exp, is further from the truth than the promised arithmetic can bring it.",
    ),
    _check(
        "masks",
        cases.MASKS,
        _result,
        "The diagonal, the window or a mask removes a key too many or too few, or an empty row is not as promised.",
    ),
    _check(
        "features",
        cases.FEATURES,
        _result,
        "A bias, a softcap, a sink or the map from query heads to key heads is applied wrongly.",
    ),
    _check(
        "masked_values",
        cases.MASKED_VALUES,
        _result,
        "NaN or infinity of a key that is masked comes through.",
        attention_values.reason_computed,
    ),
    _check(
        "special",
        cases.SPECIAL,
        attention_values.special,
        "NaN and infinities decide other elements than they should.",
        attention_values.has_special,
    ),
    _check(
        "lse",
        cases.LSE,
        _result,
        "The log-sum-exp is in another base, lacks the maximum, or loses accuracy far from zero.",
        attention_values.has_lse,
    ),
    _check(
        "statistics",
        cases.STATISTICS,
        attention_values.statistics,
        "The errors lean to one side or are too large on the whole: P is not rounded to nearest.",
        attention_values.has_rounded_weights,
    ),
    _check("layout", cases.LAYOUTS, _result, "Strides or offsets of an operand are ignored."),
    _check(
        "second_call",
        cases.SECOND_CALL,
        attention_structure.second_call,
        "A result or a scale is remembered: new data at the same place, or another scale, give the old answer.",
    ),
    _check(
        "repeat",
        cases.REPEAT,
        attention_laws.repeat,
        "The same call gives other bits, against the contract.",
    ),
    _check(
        "slices",
        cases.SLICES,
        attention_laws.slices,
        "A sequence's or a query's bits depend on the others, against the contract; or it is wrong alone.",
    ),
    _check(
        "decode",
        cases.DECODE,
        attention_laws.decode,
        "A decode step differs from the row of the prefill that it is.",
    ),
    _check(
        "permutation",
        cases.PERMUTATION,
        attention_laws.permutation,
        "Keys in another order give a wrong result.",
    ),
    _check(
        "chunks",
        cases.CHUNKS,
        attention_laws.chunks,
        "Parts of the keys, combined by their log-sum-exps, do not give the whole.",
        attention_laws.has_chunks,
    ),
    _check(
        "large",
        cases.LARGE,
        attention_values.large,
        "At a size where tiles, splits and threads come into play, a row is wrong.",
    ),
    _check(
        "hunt",
        cases.HUNT,
        attention_hunt.hunt,
        "Some combination of sizes, options, layouts and data, found by search and shrunk, breaks the law.",
        has_hunt,
    ),
    _check(
        "gradients_hunt",
        cases.HUNT,
        attention_gradients_hunt.hunt,
        "Gradients of some combination of sizes, options, layouts and data, found by search and shrunk, are wrong.",
        lambda trial: lacking(trial, {"gradients"}) or has_hunt(trial),
    ),
    _check(
        "packed_hunt",
        cases.HUNT,
        attention_packed_hunt.hunt,
        "Some packed batch, found by search of lengths, options, layouts and data and shrunk, is wrong.",
        lambda trial: lacking(trial, {"packed"}) or has_hunt(trial),
    ),
    *attention_gradients.CHECKS,
    *attention_packed.CHECKS,
)
