"""Two kernels in a process each, for libraries that one process cannot load twice: timed by turns all the same."""

import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.perf import fresh, trees
from lastbit.perf.comparison import Comparison
from lastbit.perf.decide import MERGE, golden_limits
from lastbit.perf.pairs import measure
from lastbit.perf.samples import MOST_CALLS, Sample, Timer, calibrated
from lastbit.perf.sides import Side, reached
from lastbit.perf.workload import FaultyError
from lastbit.verdict import Outcome, Verdict
from lastbit.worker import Way

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms, Watch

#: Seconds that a process may take to import and to judge its side, and to answer once it has.
START_S, ANSWER_S = 300.0, 60.0
#: Ends of the names of libraries that were compiled.
NATIVE = (".so", ".pyd", ".dylib")
#: Levels of folders below a tree that are looked into, and folders that are none of its own.
DEEP = 4
FOREIGN = frozenset({"node_modules"})


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a process says first: the law's verdict of its side, and what a sample of it needs."""

    outcome: Outcome
    reason: str
    shapes: Mapping[str, tuple[int, ...]]
    bytes_returned: int = 0
    target_ns: int = 0


def is_native(root: Path, deep: int = DEEP) -> bool:
    """Whether a tree has libraries that were compiled: two of one name cannot both be loaded in one process.

    Looks into `deep` levels of folders, those that packages can be in.
    """
    for folder, inside, files in os.walk(root):
        if "pyvenv.cfg" not in files and any(name.endswith(NATIVE) for name in files):
            return True
        done = "pyvenv.cfg" in files or len(Path(folder).relative_to(root).parts) >= deep
        inside[:] = [] if done else [name for name in inside if name.isidentifier() and name not in FOREIGN]
    return False


def kernels(root: Path, source: str) -> tuple[Kernel, ...]:
    """What the tree at `root` has, as a process of its own tells it: here, nothing is imported, and none can be run.

    Raises LastbitError as trees.load does.
    """
    with fresh.started(_list, str(root), source) as connection:
        found: tuple[Kernel, ...] = fresh.answer(connection, START_S)
    return found


def compared(
    base: Side,
    head: Side,
    start: Comparison,
    terms: "Terms",
    watch: "Watch | None" = None,
) -> Comparison:
    """The case of `start`, each side in a fresh process that stays alive meanwhile; SLOW is what these two found.

    Memory lies elsewhere in each of them: allowed is what a stored ratio is allowed, unless the terms say otherwise.
    """
    if terms.limits is MERGE:
        terms = replace(terms, limits=golden_limits(0.0))
    begun = time.perf_counter()
    start = replace(start, threads=terms.threads, cold=terms.is_cold, apart=True)
    with ExitStack() as stack:
        found = _compared(base, head, start, terms, watch, stack)
    return replace(found, seconds=round(time.perf_counter() - begun, 3))


def _compared(
    base: Side, head: Side, start: Comparison, terms: "Terms", watch: "Watch | None", stack: ExitStack
) -> Comparison:
    from lastbit.perf.compare import without_speed

    judged: dict[str, _Judged] = {}
    asked: dict[str, Connection] = {}
    for who, one in (("head", head), ("base", base)):
        try:
            asked[who] = stack.enter_context(_started(one, start.asked, terms))
            judged[who] = fresh.answer(asked[who], START_S)
        except LastbitError as error:
            return replace(start, outcome=Outcome.INCONCLUSIVE, reason=f"{who}: {error}")
        if judged[who].outcome is not Outcome.PASS:
            return without_speed(start, judged[who].outcome, judged[who].reason, who)
    if judged["base"].shapes != judged["head"].shapes:
        return replace(start, reason="the case has other sizes for base than for head: give its sizes as numbers")
    turn: list[str] = []
    try:
        return _timed(asked, judged, turn, start, terms, watch)
    except FaultyError as error:
        return without_speed(start, error.verdict.outcome, error.verdict.reason, turn[-1])
    except LastbitError as error:
        return replace(start, outcome=Outcome.INCONCLUSIVE, reason=f"{turn[-1]}: {error}")


def _timed(
    asked: Mapping[str, Connection],
    judged: Mapping[str, _Judged],
    turn: list[str],
    start: Comparison,
    terms: "Terms",
    watch: "Watch | None",
) -> Comparison:
    """Pairs of both; `turn` tells last whose turn it is. Raises FaultyError and LastbitError as `_ask` does."""
    from lastbit.perf.compare import MOST_RETURNED, measured, noticed

    def timer(who: str) -> Timer:
        def take(calls: int) -> Sample:
            turn[:] = [who]
            found = _ask(asked[who], calls)
            assert isinstance(found, Sample)
            return found

        return take

    base, head = timer("base"), timer("head")
    most = max(1, min(MOST_CALLS, MOST_RETURNED // max(1, *(one.bytes_returned for one in judged.values()))))
    calls = calibrated((base, head), judged["base"].target_ns, most)
    dirty = noticed(watch, terms.threads)
    pairs = measure(lambda: base(calls), lambda: head(calls), Random(terms.seed), terms.stop, dirty=dirty)
    for who, connection in asked.items():
        turn[:] = [who]
        _ask(connection, 0)
    return measured(replace(start, calls=calls), pairs, terms)


def _started(one: Side, case: str, terms: "Terms") -> AbstractContextManager[Connection]:
    """A process that has this side; raises LastbitError where none can find it."""
    if not one.ways:
        text = f"{one.label} cannot be found by another process"
        raise LastbitError(f"{text}; define its function at the top level of a module or file")
    return fresh.started(_serve, one.ways, one.label, case, terms)


def _ask(connection: Connection, calls: int) -> Any:
    """A sample of so many calls; of none, a look at whether the kernel remembers its data.

    Raises FaultyError as the workload in the process does, LastbitError where it dies.
    """
    try:
        connection.send(calls)
    except OSError as error:
        raise LastbitError("its process died") from error
    found = fresh.answer(connection, ANSWER_S)
    if isinstance(found, Verdict):
        raise FaultyError(found)
    return found


def _serve(connection: Connection, ways: tuple[Way, ...], label: str, case: str, terms: "Terms") -> None:
    """Judge the side here, say so, and take samples for as long as they are asked for."""
    from lastbit.perf import novelty
    from lastbit.perf.compare import choices, overrides
    from lastbit.perf.evidence import evidence
    from lastbit.perf.memory import keep_memory
    from lastbit.perf.reach import workload
    from lastbit.perf.threads import limited

    keep_memory()
    one = reached(ways, label)
    ((check, trial),) = choices(one.kernel, (case,), terms)
    one.enter()
    with limited(terms.threads):
        found = evidence(check, trial, overrides())
        if not found.passed:
            connection.send(_Judged(found.record.outcome, found.record.reason, {}))
            return
        work = workload(found, terms)
        shapes = {name: operand.codes.shape for name, operand in found.calls[0].operands.items()}
        connection.send(_Judged(Outcome.PASS, "", shapes, work.bytes_returned, work.clock.target_ns))
        while True:
            try:
                calls: int = connection.recv()
                connection.send(work.sample(calls) if calls else novelty.check(work, Random(terms.seed)))
            except FaultyError as error:
                connection.send(error.verdict)
            except EOFError:
                return


def _list(connection: Connection, root: str, source: str) -> None:
    connection.send(tuple(replace(one, run=_elsewhere) for one in trees.load(Path(root), [source]).kernels))


def _elsewhere(*_: Any, **__: Any) -> None:
    """What stands for a kernel that only another process has."""
    raise LastbitError("this kernel is in a process of its own, and cannot be called here")
