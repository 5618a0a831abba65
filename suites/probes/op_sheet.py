"""The probes of ops that are no sums, by op: what a datasheet of a cast, a softmax or a quantizer is made of."""

from collections.abc import Callable

from lastbit.suites.probes.answer import Answer
from lastbit.suites.probes.attention_probes import attention_answers
from lastbit.suites.probes.cast_range_probes import cast_answers
from lastbit.suites.probes.op_access import Ask
from lastbit.suites.probes.row_probes import row_answers
from lastbit.suites.probes.scale_probes import scale_answers

#: Every probe of an op's kernels: each raises AccessError where the kernel gives no result.
PROBES: dict[str, Callable[[Ask], list[Answer]]] = {
    "cast": cast_answers,
    "softmax": row_answers,
    "log_softmax": row_answers,
    "logsumexp": row_answers,
    "quantize": scale_answers,
    "attention": attention_answers,
}
