"""The law of paged attention: its checks, each with its cases and what a failure of it means."""

from lastbit.case import Check
from lastbit.suites import paged_cases as cases
from lastbit.suites import paged_checks as checks
from lastbit.suites.hunt import has_hunt
from lastbit.suites.paged_hunt import hunt
from lastbit.suites.paged_trial import has_data

CHECKS: tuple[Check, ...] = (
    Check(
        "exact",
        "paged_attention",
        cases.EXACT,
        checks.result,
        has_data,
        "A row of the cache does not come back bit for bit: a token, a head or a scale is wrong.",
    ),
    Check(
        "pages",
        "paged_attention",
        cases.PAGES,
        checks.result,
        has_data,
        "Pages out of order, shared between sequences, or with ids beyond 16 bits are not found.",
    ),
    Check(
        "lengths",
        "paged_attention",
        cases.LENGTHS,
        checks.result,
        has_data,
        "A sequence of one token, or of a page and one more or less, is cut short or read too far.",
    ),
    Check(
        "unused",
        "paged_attention",
        cases.UNUSED,
        checks.result,
        has_data,
        "NaN in pages or places that hold no token of the sequence reach the result.",
    ),
    Check(
        "heads",
        "paged_attention",
        cases.HEADS,
        checks.result,
        has_data,
        "Query heads read the keys and values of another head.",
    ),
    Check(
        "bound",
        "paged_attention",
        cases.BOUND,
        checks.bound,
        has_data,
        "An element is further from the truth over the dequantized cache than the promised arithmetic can bring it.",
    ),
    Check(
        "causal",
        "paged_attention",
        cases.CAUSAL_CASES,
        checks.result,
        has_data,
        "Several queries of a sequence see other tokens than those up to their own.",
    ),
    Check(
        "window",
        "paged_attention",
        cases.WINDOW,
        checks.result,
        has_data,
        "A sliding window begins or ends at the wrong token.",
    ),
    Check(
        "layout",
        "paged_attention",
        cases.LAYOUTS,
        checks.result,
        has_data,
        "Strides of queries, caches or tables are ignored.",
    ),
    Check(
        "second_call",
        "paged_attention",
        cases.SECOND_CALL,
        checks.second_call,
        has_data,
        "A block table or a result is remembered by address or shape.",
    ),
    Check(
        "repeat",
        "paged_attention",
        cases.REPEAT,
        checks.repeat,
        has_data,
        "The same call gives other bits, against the contract.",
    ),
    Check(
        "relocate",
        "paged_attention",
        cases.RELOCATE,
        checks.relocate,
        has_data,
        "The bits depend on which pages hold the tokens, against the contract.",
    ),
    Check(
        "alone",
        "paged_attention",
        cases.ALONE,
        checks.alone,
        has_data,
        "A sequence's bits depend on the others of the batch, against the contract; or it is wrong alone.",
    ),
    Check(
        "hunt",
        "paged_attention",
        cases.HUNT,
        hunt,
        has_hunt,
        "Some combination of sizes, pages, options and data, found by search and shrunk, breaks the law.",
    ),
)
