"""The same comparison in fresh processes: what is slow in one process only is not slow."""

import dataclasses
import multiprocessing
import sys
import warnings
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from lastbit.errors import LastbitError
from lastbit.isolate import hidden_main
from lastbit.perf.comparison import Comparison
from lastbit.perf.decide import percent
from lastbit.perf.sides import Side, reached
from lastbit.verdict import Outcome
from lastbit.worker import Way

if TYPE_CHECKING:
    from lastbit.perf.compare import Terms

#: Fresh processes that are asked at most: a second one where the first disagrees.
ASKED = 2
#: Seconds that a process may take beside the budget of the comparison: to import, and to judge both sides.
REST_S = 300.0


def confirmed(base: Side, head: Side, found: Comparison, terms: "Terms") -> Comparison:
    """`found`, which is SLOW, as fresh processes see it: SLOW if one of two agrees, else INCONCLUSIVE.

    Memory lies elsewhere in another process, and a kernel that is slow only here is unlucky, not slow.
    """
    verdicts: list[Outcome] = []
    why = ""
    for _ in range(ASKED):
        try:
            other = again(base, head, found, terms)
        except LastbitError as error:
            why = str(error)
            break
        verdicts.append(other.outcome)
        text = f"{percent(other.ratio)} in a fresh process" if other.ratio else other.reason
        if other.outcome is Outcome.SLOW:
            return dataclasses.replace(found, reason=f"{found.reason}; {text}", confirmed=tuple(verdicts))
        why = f"{other.outcome.value} in a fresh process ({other.reason})"
    reason = f"{found.reason}; not confirmed: {why}"
    return dataclasses.replace(found, outcome=Outcome.INCONCLUSIVE, reason=reason, confirmed=tuple(verdicts))


def again(base: Side, head: Side, found: Comparison, terms: "Terms") -> Comparison:
    """The comparison `found` made in a process that has computed nothing before.

    Raises LastbitError where a side cannot be found there, or the process dies.
    """
    for one in (base, head):
        if not one.ways:
            text = f"{one.label} cannot be found by another process"
            raise LastbitError(f"{text}; define its function at the top level of a module or file")
    import lastbit

    context = multiprocessing.get_context("forkserver")
    # A server that has imported the frameworks and never computed: its forks start fast, with memory of their own.
    context.set_forkserver_preload([name for name in ("numpy", "torch") if name in sys.modules])
    ours, theirs = context.Pipe()
    given = ((base.label, base.ways), (head.label, head.ways))
    process = context.Process(target=_serve, args=(theirs, list(lastbit.__path__), given, found, terms))
    with warnings.catch_warnings(), hidden_main():
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    try:
        if not ours.poll(terms.stop.budget_s + REST_S):
            raise LastbitError("its process did not answer")
        answer = ours.recv()
    except (EOFError, ConnectionError) as error:
        raise LastbitError("its process died") from error
    finally:
        ours.close()
        process.kill()
        process.join()
    if isinstance(answer, str):
        raise LastbitError(answer)
    if not isinstance(answer, Comparison):
        raise LastbitError(f"its process answered with a {type(answer).__name__}")
    return answer


def _serve(
    connection: Connection,
    path: list[str],
    given: tuple[tuple[str, tuple[Way, ...]], ...],
    found: Comparison,
    terms: "Terms",
) -> None:
    """Make the comparison here, and send it, or why it cannot be made."""
    import lastbit

    lastbit.__path__[:] = path
    answer: Any
    try:
        base, head = (reached(ways, label) for label, ways in given)
        answer = _made(base, head, found, terms)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    connection.send(answer)


def _made(base: Side, head: Side, found: Comparison, terms: "Terms") -> Comparison | str:
    from lastbit.perf.compare import walk

    case = f"{found.check} {found.case} {found.formats.replace(' ', ',')}"
    made = list(walk(base, head, (case,), terms, confirm=lambda base, head, found, terms: found))
    return made[0] if len(made) == 1 else f"it found {len(made)} cases {case}"
