"""A judged and compared kernel in pytest-benchmark: its table, storage and JSON, with the verdict as `extra_info`."""

from typing import TYPE_CHECKING, Any

from lastbit.perf.evidence import evidence
from lastbit.perf.reach import workload
from lastbit.perf.threads import limited
from lastbit.perf.workload import Turn

if TYPE_CHECKING:
    from lastbit.perf.phase import Timed
    from lastbit.verdict import Record

#: Rounds of one call.
ROUNDS = 20


def show(benchmark: Any, one: "Timed", record: "Record") -> None:
    """Run the fixture `benchmark` over the kernel; every round's result is looked at after its time is taken.

    Rounds are as the machine was, interruptions too: for display, never for a verdict.

    Raises FaultyError where a result is not the judged one.
    """
    benchmark.group = f"{record.op} {one.case}"
    benchmark.extra_info.update(extra(record))
    with limited(one.terms.threads):
        one.head.enter()
        found = evidence(one.check, one.trial)
        if not found.passed:
            return
        work = workload(found, one.terms)
        wait = _waiting(one.trial.device)

        def target(turn: Turn) -> None:
            turn.run()
            wait()

        benchmark.pedantic(
            target,
            setup=lambda: ((work.turn(1),), {}),
            teardown=lambda turn: turn.look(),
            rounds=ROUNDS,
            warmup_rounds=1,
        )


def extra(record: "Record") -> dict[str, Any]:
    """What the JSON of a benchmark says of the record."""
    timing = record.timing
    assert timing is not None
    return {
        "verdict": record.outcome.value,
        "against": timing.against,
        "ratio": timing.ratio,
        "interval": [timing.low, timing.high],
        "clean_pairs": timing.clean or None,
        "results_passed": timing.passed,
        "golden": record.golden,
    }


def _waiting(device: str) -> Any:
    if device == "cpu":
        return lambda: None
    import torch

    return torch.cuda.synchronize
