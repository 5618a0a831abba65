"""Which ops have a law, and the checks that it consists of."""

from importlib import import_module

from lastbit.case import Check, Trial
from lastbit.errors import UsageError

#: The module of suites that holds an op's checks, and with "_trial" the one that sizes its cases.
LAWS = {
    "gemm": "gemm",
    "scaled_gemm": "scaled_gemm",
    "softmax": "softmax",
    "log_softmax": "softmax",
    "logsumexp": "softmax",
    "attention": "attention",
    "kv_append": "kv_append",
    "paged_attention": "paged",
    "quantize": "quantize",
    "dequantize": "dequantize",
    "cast": "cast",
}
OPS_WITH_LAW = tuple(LAWS)


def checks(op: str) -> tuple[Check, ...]:
    """The checks of `op`, in the order in which they are walked.

    Raises UsageError for an op that has no law yet.
    """
    if op not in OPS_WITH_LAW:
        raise UsageError(f"lastbit has no law for {op} yet; it judges {', '.join(OPS_WITH_LAW)}")
    law: tuple[Check, ...] = import_module(f"lastbit.suites.{LAWS[op]}").CHECKS
    return tuple(check for check in law if check.op == op)


def sizes(trial: Trial) -> dict[str, int]:
    """The sizes of the trial's case as numbers, its words resolved against the kernel."""
    resolved: dict[str, int] = import_module(f"lastbit.suites.{LAWS[trial.kernel.op]}_trial").sizes(trial)
    return resolved
