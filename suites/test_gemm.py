"""The law of GEMM, walked over every kernel that is found: one test for each trial."""

from collections.abc import Callable

from lastbit.case import Check, Trial

OP = "gemm"


def test_gemm(lastbit_trial: tuple[Check, Trial], lastbit_judge: Callable[[Check, Trial], None]) -> None:
    """The kernel keeps its promise on this case."""
    lastbit_judge(*lastbit_trial)
