"""The same comparison in fresh processes: what is slow in one process only is not slow."""

import dataclasses
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from lastbit.errors import LastbitError
from lastbit.perf import fresh
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
    if base.apart or head.apart:  # in two processes, which walk starts itself
        made = _made(base, head, found, terms)
    else:
        given = ((base.label, base.ways), (head.label, head.ways))
        with fresh.started(_serve, given, found, terms) as connection:
            made = fresh.answer(connection, terms.stop.budget_s + REST_S)
    if not isinstance(made, Comparison):
        raise LastbitError(f"its process answered with a {type(made).__name__}")
    return made


def _serve(
    connection: Connection, given: tuple[tuple[str, tuple[Way, ...]], ...], found: Comparison, terms: "Terms"
) -> None:
    """Make the comparison here, and send it, or why it cannot be made."""
    base, head = (reached(ways, label) for label, ways in given)
    connection.send(_made(base, head, found, terms))


def _made(base: Side, head: Side, found: Comparison, terms: "Terms") -> Comparison:
    from lastbit.perf.compare import walk

    made = list(walk(base, head, (found.asked,), terms, confirm=lambda base, head, found, terms: found))
    if len(made) != 1:
        raise LastbitError(f"it found {len(made)} cases {found.asked}")
    return made[0]
