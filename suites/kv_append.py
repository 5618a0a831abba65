"""The law of KV appends: its checks, each with its cases and what a failure of it means."""

from lastbit.case import Check
from lastbit.suites import kv_append_cases as cases
from lastbit.suites import kv_append_checks as checks
from lastbit.suites.kv_append_life import lifecycle
from lastbit.suites.kv_append_trial import has_data

CHECKS: tuple[Check, ...] = (
    Check(
        "exact",
        "kv_append",
        cases.EXACT,
        checks.exact,
        has_data,
        "A code of a stored token differs: its value, its scale, its rounding or its place.",
    ),
    Check(
        "untouched",
        "kv_append",
        cases.UNTOUCHED,
        checks.untouched,
        has_data,
        "A place that no token goes to has changed: a neighbour's slot, or a whole page.",
    ),
    Check(
        "order",
        "kv_append",
        cases.ORDER,
        checks.whole,
        has_data,
        "Tokens do not go where their slots say: slots in order, at the ends of pages, or filling every page.",
    ),
    Check(
        "duplicates",
        "kv_append",
        cases.DUPLICATES,
        checks.whole,
        has_data,
        "A slot of several tokens holds none of them whole.",
    ),
    Check(
        "padding",
        "kv_append",
        cases.PADDING,
        checks.whole,
        has_data,
        "A token of the slot -1 is stored, or keeps others from being stored.",
    ),
    Check(
        "top",
        "kv_append",
        cases.TOP,
        checks.whole,
        has_data,
        "Pages beyond 65,535 are reached with too narrow a number.",
    ),
    Check(
        "empty",
        "kv_append",
        cases.EMPTY,
        checks.whole,
        has_data,
        "An append of no token changes the cache or fails.",
    ),
    Check(
        "layout",
        "kv_append",
        cases.LAYOUTS,
        checks.whole,
        has_data,
        "Strides of tokens or caches are ignored.",
    ),
    Check(
        "second_call",
        "kv_append",
        cases.SECOND_CALL,
        checks.second_call,
        has_data,
        "Slots or tokens are remembered by address or shape.",
    ),
    Check(
        "lifecycle",
        "kv_append",
        cases.LIFECYCLE,
        lifecycle,
        has_data,
        "After a while of appends, forks and evictions a sequence does not read its own tokens.",
    ),
)
