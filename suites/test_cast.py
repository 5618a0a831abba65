"""The law of casts, walked over every kernel that is found: one test for each trial."""

from collections.abc import Callable

from lastbit.case import Check, Trial

OP = "cast"


def test_cast(lastbit_trial: tuple[Check, Trial], lastbit_judge: Callable[[Check, Trial], None]) -> None:
    """The kernel keeps its promise on this case."""
    lastbit_judge(*lastbit_trial)
