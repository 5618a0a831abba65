"""The law of softmax, log_softmax and logsumexp: its checks, each with its cases and what a failure of it means."""

from lastbit.case import Check
from lastbit.suites import softmax_cases as cases
from lastbit.suites import softmax_hunt, softmax_laws, softmax_values
from lastbit.suites.hunt import has_hunt
from lastbit.suites.softmax_trial import has_data, has_output

OPS = ("softmax", "log_softmax", "logsumexp")


def _checks(op: str) -> tuple[Check, ...]:
    return (
        Check(
            "exact",
            op,
            cases.EXACT,
            softmax_values.result,
            softmax_values.has_unique,
            "Where one answer is right, a bit differs: a column is lost or counted twice, or exp(0) is not 1.",
        ),
        Check(
            "tails",
            op,
            cases.TAILS,
            softmax_values.result,
            has_data,
            "A remainder of a tile or a vector, a single row or column, or the last column is mishandled.",
        ),
        Check(
            "empty",
            op,
            cases.EMPTY,
            softmax_values.result,
            has_data,
            "No rows: the result has the right shape and nothing is read.",
        ),
        Check(
            "bound",
            op,
            cases.BOUND,
            softmax_values.bound,
            has_data,
            "An element is further from the truth than the promised arithmetic can bring it.",
        ),
        Check(
            "special",
            op,
            cases.SPECIAL,
            softmax_values.bound,
            has_data,
            "NaN, infinities or rows of -inf do not come out as the contract says, or leak into other rows.",
        ),
        Check(
            "layout",
            op,
            cases.LAYOUTS,
            softmax_values.result,
            has_data,
            "Strides, offsets or a broadcast dimension of the logits are ignored.",
        ),
        Check(
            "output",
            op,
            cases.OUTPUTS,
            softmax_values.result,
            has_output,
            "A given output is not written where its strides say, or memory beside it is.",
        ),
        Check(
            "second_call",
            op,
            cases.SECOND_CALL,
            softmax_values.second_call,
            has_data,
            "A result is remembered by address or shape: new data at the same place give the old answer.",
        ),
        Check(
            "repeat",
            op,
            cases.REPEAT,
            softmax_laws.repeat,
            has_data,
            "The same call gives other bits, against the contract.",
        ),
        Check(
            "slices",
            op,
            cases.SLICES,
            softmax_laws.row_slices,
            has_data,
            "A row's bits depend on how many rows there are, against the contract; or fewer rows are wrong.",
        ),
        Check(
            "shift",
            op,
            cases.SHIFT,
            softmax_laws.shift,
            has_data,
            "Adding a constant to all logits changes more than rounding can: the maximum is not subtracted first.",
        ),
        Check(
            "permutation",
            op,
            cases.PERMUTATION,
            softmax_laws.permutation,
            has_data,
            "The result depends on the order of the logits by more than rounding: a rescaling is wrong.",
        ),
        Check(
            "hunt",
            op,
            cases.HUNT,
            softmax_hunt.hunt,
            has_hunt,
            "Some combination of shape, layout and data, found by search and shrunk, breaks the law.",
        ),
    )


CHECKS: tuple[Check, ...] = tuple(check for op in OPS for check in _checks(op))
