"""Comparing two runs: which checks broke, were fixed, drifted, appeared or vanished, and what else differs."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from lastbit.perf.decide import golden_limits
from lastbit.reports import compare_sides
from lastbit.reports.compare_sides import Difference
from lastbit.reports.run import Run
from lastbit.verdict import Outcome, Record, Timing


class Kind(StrEnum):
    """The ways a check can differ between two runs, what to look at first first."""

    BROKEN = "broken"  # did not fail in A, fails in B
    VANISHED = "vanished"  # B does not have it, and nothing that B was asked for says why
    UNJUDGED = "unjudged"  # judged in A; B has it, but could not or did not judge it
    FAILS_OTHERWISE = "fails_otherwise"  # fails in both, in another way
    WORSE = "worse"  # passes or fails in both, with larger errors than chance gives
    MOVED = "moved"  # some errors larger, others smaller
    SLOWER = "slower"  # by more than a speed that was measured once may be off
    PROMISE = "promise"  # judged by another contract
    FINDING_BEGAN = "finding_began"  # fails in B as a known finding, which it did not in A
    FINDING_ENDED = "finding_ended"  # failed in A as a known finding, passes in B
    FIXED = "fixed"  # failed in A, does not in B
    BETTER = "better"
    FASTER = "faster"
    JUDGED = "judged"  # judged in B; A has it, but could not or did not judge it
    APPEARED = "appeared"  # A does not have it, and nothing that A was asked for says why


#: What each kind is when the runs change places.
MIRROR = {
    Kind.BROKEN: Kind.FIXED,
    Kind.VANISHED: Kind.APPEARED,
    Kind.UNJUDGED: Kind.JUDGED,
    Kind.WORSE: Kind.BETTER,
    Kind.SLOWER: Kind.FASTER,
    Kind.FINDING_BEGAN: Kind.FINDING_ENDED,
}
MIRROR |= {other: kind for kind, other in MIRROR.items()}
MIRROR |= {kind: kind for kind in (Kind.FAILS_OTHERWISE, Kind.MOVED, Kind.PROMISE)}


@dataclass(frozen=True, slots=True)
class Move:
    """A statistic that moved by more than chance explains, by the rule of golden/drift.py."""

    name: str
    a: float
    b: float
    #: The largest value that chance gives beside the smaller one of the two.
    chance: float

    def text(self) -> str:
        """ "rms 0.25 -> 0.75, chance explains up to 0.36"."""
        return f"{self.name} {self.a:.4g} -> {self.b:.4g}, chance explains up to {self.chance:.4g}"


@dataclass(frozen=True, slots=True)
class Change:
    """One check that is not alike in both runs; None stands for a record that a run does not have."""

    kind: Kind
    a: Record | None
    b: Record | None
    moves: tuple[Move, ...] = ()

    @property
    def shown(self) -> Record:
        """The record that names the check: B's, or A's where B has none, or has left out the kernel whole."""
        record = self.a if self.b is None or (self.b.case == "*" and self.a is not None) else self.b
        if record is None:
            raise ValueError("a change of no record")
        return record

    @property
    def devices(self) -> str:
        """The device, or both: "cpu -> cuda"."""
        names = dict.fromkeys(record.device for record in (self.a, self.b) if record is not None)
        return " -> ".join(names)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs beside each other."""

    #: What must be known to read the rest, one sentence each.
    warnings: tuple[str, ...] = ()
    #: Environment and options that differ.
    differences: tuple[Difference, ...] = ()
    #: Devices that were compared with each other although their fingerprints differ: (of A, of B).
    devices: tuple[tuple[str, str], ...] = ()
    #: Runs that did not come to their end: "A", "B".
    incomplete: tuple[str, ...] = ()
    #: By kind, then by key.
    changes: tuple[Change, ...] = ()
    #: Checks that both runs judged.
    judged: int = 0
    #: Checks that both runs have and that are alike; those of them that give other bits.
    same: int = 0
    other_bits: int = 0
    #: Checks of one run that the other was not asked for or did not come to, by reason: not in B, not in A.
    not_run_b: tuple[tuple[str, int], ...] = ()
    not_run_a: tuple[tuple[str, int], ...] = ()
    #: Checks that both have, but whose statistics or speeds cannot be compared, by reason.
    not_compared: tuple[tuple[str, int], ...] = ()

    def of(self, *kinds: Kind) -> list[Change]:
        """The changes of these kinds."""
        return [change for change in self.changes if change.kind in kinds]


def compare(a: Run, b: Run) -> Comparison:
    """How run `b` differs from run `a`.

    Checks are matched by kernel, formats, check, case and device; of two runs of one device each, those devices are
    matched whatever they are called. Statistics of errors count as moved where golden/drift.py would call them drift:
    by more than 25 % and six standard deviations of what two samples of n errors differ by; with another seed or tier,
    as for other data. Speeds count beside the same yardstick where they lie apart by what golden/perf_drift.py allows.
    """
    pairing = compare_sides.paired(a, b)
    apart = {theirs for _, theirs in pairing.devices}
    changes: list[Change] = []
    reasons: Counter[str] = Counter()
    same = other_bits = 0
    for one, other in pairing.both:
        found, reason = compare_records(one, other, apart=other.device in apart)
        reasons[reason] += bool(reason)
        if found is None:
            same += 1
            other_bits += _gives_other_bits(one, other)
        else:
            changes.append(found)
    changes += [Change(Kind.VANISHED, record, None) for record in pairing.vanished]
    changes += [Change(Kind.APPEARED, None, record) for record in pairing.appeared]
    changes += [change for pair in pairing.left_out if (change := _judged_change(*pair)) is not None]
    order = list(Kind)
    return Comparison(
        warnings=compare_sides.warnings(a, b),
        differences=compare_sides.differences(a.header, b.header),
        devices=pairing.devices,
        incomplete=tuple(name for name, run in (("A", a), ("B", b)) if not run.complete),
        changes=tuple(sorted(changes, key=lambda change: (order.index(change.kind), change.shown.key))),
        judged=sum(one.outcome.judged and other.outcome.judged for one, other in pairing.both),
        same=same,
        other_bits=other_bits,
        not_run_b=_counted(Counter(pairing.not_run_b)),
        not_run_a=_counted(Counter(pairing.not_run_a)),
        not_compared=_counted(+reasons),
    )


def compare_records(a: Record, b: Record, *, apart: bool = False) -> tuple[Change | None, str]:
    """The change from `a` to `b`, records of the same check, or None; and why they cannot be compared further, or "".

    `apart`: they are of different devices.
    """
    change = _judged_change(a, b)
    if a.timing is not None or b.timing is not None:
        return (change, "") if a.outcome.failed or b.outcome.failed else _speed(a, b, apart)
    if change is not None or not (a.outcome.judged and b.outcome.judged):
        return change, ""
    if a.contract != b.contract:
        return (None, "by another contract, of another device") if apart else (Change(Kind.PROMISE, a, b), "")
    if a.stats is not None and b.stats is not None and a.stats.n != b.stats.n:
        return None, "of another number of elements"
    moves = _moves(a, b)
    rose, fell = any(move.b > move.a for move in moves), any(move.b < move.a for move in moves)
    kind = Kind.MOVED if rose and fell else Kind.WORSE if rose else Kind.BETTER
    return (Change(kind, a, b, moves) if moves else None), ""


def exit_status(comparison: Comparison, strict: bool = False) -> int:
    """1 where a check fails in B that did not fail in A, be it new, or where errors became larger on the same device
    and data, or a speed less; with `strict`, also where a check that A judged vanished or is no longer judged, or where
    B did not come to its end. Else 2 where no check is judged in both, and 0.

    A failure that is a known finding is none. Drift between devices is told, and is no failure: each adds in its way.
    """
    if strict and ("B" in comparison.incomplete or any(is_loss(change) for change in comparison.changes)):
        return 1
    if any(fails(change) or is_drift(comparison, change) for change in comparison.changes):
        return 1
    return 0 if comparison.judged else 2


def fails(change: Change) -> bool:
    """Whether B fails here, other than as a known finding, and A does not."""
    return _is_failure(change.b) and not _is_failure(change.a)


def is_drift(comparison: Comparison, change: Change) -> bool:
    """Whether B became worse here within what passes: larger errors on the same device and data, or slower."""
    if change.kind is Kind.SLOWER:
        return True
    if change.kind not in (Kind.WORSE, Kind.MOVED) or change.a is None or change.b is None:
        return False
    return (change.a.device, change.b.device) not in comparison.devices and _is_same_data(change.a, change.b)


def is_loss(change: Change) -> bool:
    """Whether A judged here, and B does not."""
    judged = change.a is not None and change.a.outcome.judged and change.a.timing is None
    return judged and change.kind in (Kind.VANISHED, Kind.UNJUDGED)


def _is_failure(record: Record | None) -> bool:
    return record is not None and record.outcome.failed and not record.known


def _judged_change(a: Record, b: Record) -> Change | None:
    """The change of outcome from `a` to `b`, or None."""
    if a.outcome.failed and b.outcome.failed:
        alike = (a.outcome, a.known) == (b.outcome, b.known)
        return None if alike else Change(Kind.FAILS_OTHERWISE, a, b)
    if a.outcome.judged != b.outcome.judged:
        return Change(Kind.JUDGED if b.outcome.judged else Kind.UNJUDGED, a, b)
    if b.outcome.failed:
        return Change(Kind.FINDING_BEGAN if b.known else Kind.BROKEN, a, b)
    if a.outcome.failed:
        return Change(Kind.FINDING_ENDED if a.known else Kind.FIXED, a, b)
    return None


def _moves(a: Record, b: Record) -> tuple[Move, ...]:
    """The statistics that moved, each told from the side on which it is larger: so both directions say the same."""
    from lastbit.golden import drift, store

    if not (store.comparable(a) and store.comparable(b)) or a.stats is None or b.stats is None:
        return ()
    same_data = _is_same_data(a, b)
    if a.stats == b.stats or (same_data and a.digest and a.digest == b.digest):
        return ()
    baselines = [store.golden(replace(one, outcome=Outcome.PASS), env="", by="", day="", reason="") for one in (a, b)]
    up = [one for one in drift.changes(b.stats, baselines[0], same_data=same_data) if one.worse]
    down = [one for one in drift.changes(a.stats, baselines[1], same_data=same_data) if one.worse]
    moves = [Move(one.name, one.old, one.new, one.limit) for one in up]
    moves += [Move(one.name, one.new, one.old, one.limit) for one in down]
    return tuple(sorted(moves, key=lambda move: -max(move.a, move.b) / move.chance if move.chance else -math.inf))


def _speed(a: Record, b: Record, apart: bool) -> tuple[Change | None, str]:
    one, other = a.timing, b.timing
    if one is None or other is None or not (one.low > 0 and other.low > 0):
        return None, "a speed is not known"
    if apart or any(getattr(one, name) != getattr(other, name) for name in ("against", "threads", "cold")):
        return None, "a speed beside another yardstick, or on another device"
    if _is_slower(other, one):
        return Change(Kind.SLOWER, a, b), ""
    return (Change(Kind.FASTER, a, b) if _is_slower(one, other) else None), ""


def _is_slower(one: Timing, other: Timing) -> bool:
    """Whether `one` is slower by what a stored speed may be off by, and each measurement of it by half of that."""
    limits = golden_limits(0.0)
    return one.ratio > other.ratio * (1 + limits.slower) and one.low > other.high * (1 + limits.sure)


def _is_same_data(a: Record, b: Record) -> bool:
    return (a.seed, a.tier) == (b.seed, b.tier)


def _gives_other_bits(a: Record, b: Record) -> bool:
    return bool(a.digest and b.digest) and a.digest != b.digest and _is_same_data(a, b)


def _counted(reasons: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
