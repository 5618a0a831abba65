"""A comparison of two runs as people read it: one sentence, then sections, what needs a look first."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lastbit.reports.compare_runs import Change, Comparison, Kind, fails, is_drift, is_loss
from lastbit.reports.run import Run
from lastbit.reports.summary import clean, counted, short_formats
from lastbit.verdict import Outcome, Record, Timing

#: Title and meaning of the section of each kind; failures that are new come before them all.
TITLES = {
    Kind.VANISHED: ("vanished", "A has these checks, B does not, and nothing that B was asked for says why"),
    Kind.UNJUDGED: ("no longer judged", "judged in A, not in B"),
    Kind.FAILS_OTHERWISE: ("fails in another way", "fails in both"),
    Kind.WORSE: ("larger errors", "by more than 25 % and six standard deviations of chance: golden/README.md"),
    Kind.MOVED: ("other errors", "some statistics larger, some smaller, by more than 25 % and six standard deviations"),
    Kind.SLOWER: ("slower", "by more than 10 %, and every measurement by more than 5 %"),
    Kind.PROMISE: ("another contract", "judged by what the kernel promises now, which is not what it promised"),
    Kind.FINDING_BEGAN: ("known findings that began", "fails in B as a finding that is known"),
    Kind.BROKEN: ("broken", "fails in B"),
    Kind.FINDING_ENDED: ("known findings that ended", "failed in A as a finding that is known, passes in B"),
    Kind.FIXED: ("fixed", "failed in A, passes in B"),
    Kind.BETTER: ("smaller errors", "by more than 25 % and six standard deviations of chance"),
    Kind.FASTER: ("faster", "by more than 10 %, and every measurement by more than 5 %"),
    Kind.JUDGED: ("judged now", "not judged in A"),
    Kind.APPEARED: ("appeared", "B has these checks, A does not, and nothing that A was asked for says why"),
}
#: Kinds that say whether a check was carried out at all: told by kernel, not by check.
_COVERAGE = (Kind.VANISHED, Kind.UNJUDGED, Kind.JUDGED, Kind.APPEARED)
#: How a sentence counts a kind: noun and what happened to it.
_COUNTED = {
    Kind.VANISHED: "vanished",
    Kind.UNJUDGED: "no longer judged",
    Kind.FAILS_OTHERWISE: "fail in another way",
    Kind.PROMISE: "judged by another contract",
    Kind.FINDING_BEGAN: "failing as a known finding",
    Kind.FINDING_ENDED: "no longer failing as a known finding",
    Kind.FIXED: "fixed",
    Kind.BETTER: "with smaller errors",
    Kind.FASTER: "faster",
    Kind.JUDGED: "judged for the first time",
    Kind.APPEARED: "new",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Changes that say the same of one kernel."""

    kernel: str
    #: Formats, device and check, and the case that is shown.
    where: str
    count: int
    #: What happened: "pass -> over_budget", or what moved.
    what: str
    #: Reasons of the run that is not well, and the command that repeats it.
    details: tuple[str, ...] = ()
    reproduce: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Entries of one kind."""

    title: str
    meaning: str
    #: Checks, of all entries.
    count: int
    entries: tuple[Entry, ...]
    #: Whether it needs a look: something broke, became worse, or is no longer judged.
    bad: bool = False


def sentence(comparison: Comparison) -> str:
    """What came of the comparison, to quote."""
    failing = sum(fails(change) for change in comparison.changes)
    drifted = sum(is_drift(comparison, change) for change in comparison.changes)
    bad = (
        [f"{counted(failing, 'check')} {'fails' if failing == 1 else 'fail'} that did not fail in A"] if failing else []
    )
    bad += [f"{drifted} became worse within {'its' if drifted == 1 else 'their'} limits"] if drifted else []
    counts = Counter(
        change.kind for change in comparison.changes if not fails(change) and not is_drift(comparison, change)
    )
    rest = [f"{counts[kind]} {text}" for kind, text in _COUNTED.items() if counts[kind]]
    moved = counts[Kind.WORSE] + counts[Kind.MOVED]
    rest += [f"{moved} with other errors, on another device or other data"] if moved else []
    missing = sum(count for _, count in comparison.not_run_b)
    rest += [f"{missing} not run in B"] if missing else []
    bits = f" ({comparison.other_bits} with other bits)" if comparison.other_bits else ""
    rest += [f"{counted(comparison.same, 'check')} alike{bits}"] if comparison.same else []
    if bad:
        return f"B IS WORSE THAN A: {'; '.join([' and '.join(bad), *([', '.join(rest)] if rest else [])])}."
    head = "NOTHING BROKE IN WHAT BOTH JUDGED" if comparison.judged else "NOTHING COMPARED, no check is judged in both"
    return f"{head}: {', '.join(rest) or 'no checks'}."


def sections(comparison: Comparison) -> list[Section]:
    """What differs, failures that are new first."""
    new = [change for change in comparison.changes if fails(change)]
    made = [_section("fails in B, did not fail in A", "", new, bad=True)] if new else []
    for kind, (title, meaning) in TITLES.items():
        changes = [change for change in comparison.of(kind) if not fails(change)]
        if changes:
            bad = any(is_drift(comparison, change) or is_loss(change) for change in changes)
            made.append(_section(title, meaning, changes, bad))
    return made


def changes(comparison: Comparison) -> list[str]:
    """The sentence, the warnings, then every entry in a line, for a report that lists what differs."""
    told = [
        f"{section.title}: {entry.kernel} {entry.where}: {entry.what}"
        for section in sections(comparison)
        for entry in section.entries
    ]
    differs = [f"made otherwise: {clean(one.text())}" for one in comparison.differences]
    return [sentence(comparison), *map(clean, comparison.warnings), *told, *differs, *map(clean, remarks(comparison))]


def remarks(comparison: Comparison) -> list[str]:
    """What was not compared, and why: one sentence each."""
    said = [f"{counted(count, 'check')} not run in B: {reason}" for reason, count in comparison.not_run_b]
    said += [f"{counted(count, 'check')} not run in A: {reason}" for reason, count in comparison.not_run_a]
    return said + [
        f"{counted(count, 'check')} not compared further: {reason}" for reason, count in comparison.not_compared
    ]


def side(name: str, run: Run) -> str:
    """One line that tells which run this is."""
    header = run.header
    devices = ", ".join(f"{device} {slug}" for device, slug in header.environment.devices.items()) or "no device known"
    commit = f"commit {header.environment.commit}{' with changes' if header.environment.dirty else ''}, "
    commit = commit if header.environment.commit else ""
    merged = f", merged of {len(header.parts)}" if header.parts else ""
    return (
        f"{name}: {header.started or 'time unknown'}, {commit}tier {header.tier}, seed {header.seed}, {devices}, "
        f"{len(run.records)} records{merged}{'' if run.complete else ', NOT COMPLETE'}"
    )


def _section(title: str, meaning: str, changes: Sequence[Change], bad: bool = False) -> Section:
    if changes[0].kind in _COVERAGE and not fails(changes[0]):
        entries = [_covered(group) for group in sorted(_grouped(changes, _kernel), key=_unjudged_last)]
    else:
        entries = [_entry(group) for group in _grouped(changes, _check)]
    return Section(title, meaning, len(changes), tuple(entries), bad)


def _unjudged_last(group: Sequence[Change]) -> bool:
    """Sort key of kernels' coverage: what no run has judged is no loss and no gain."""
    return not any(one is not None and one.outcome.judged for one in (group[0].a, group[0].b))


def _grouped(changes: Iterable[Change], key: Callable[[Change], tuple[str, ...]]) -> list[list[Change]]:
    groups: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in changes:
        groups[key(change)].append(change)
    return list(groups.values())


def _kernel(change: Change) -> tuple[str, ...]:
    why = _unjudged_reason(change) if change.a is not None and change.b is not None else ""
    return change.kind, change.shown.kernel, change.devices, _outcome(change.a), _outcome(change.b), why


def _check(change: Change) -> tuple[str, ...]:
    known = [one.known for one in (change.a, change.b) if one is not None]
    return (*_kernel(change)[:-1], change.shown.check, *known)


def _entry(group: Sequence[Change]) -> Entry:
    """Changes of one check: the worst one is shown."""
    change = max(group, key=_size)
    shown = change.shown
    failing = change.b is not None and change.b.outcome.failed
    formats = len({one.shown.formats for one in group}) - 1
    others = f" and {formats} other set{'' if formats == 1 else 's'} of formats" if formats else ""
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    where = f"[{short_formats(shown.formats)}]{others} on {change.devices}, {shown.check}, {shown.case}"
    return Entry(
        kernel=clean(shown.kernel, 80),
        where=clean(where, 240) + more,
        count=len(group),
        what=clean(_what(change), 400),
        details=tuple(clean(line, 240) for line in _reason(shown)) if failing else (),
        reproduce=clean(shown.reproduce, 600) if failing else "",
    )


def _reason(record: Record) -> list[str]:
    """The two lines of a reason that say most: the first two, or the first and the last where lastbit failed."""
    lines = [line for line in record.reason.splitlines() if line.strip()]
    return [*lines[:1], *(lines[-1:] if record.outcome is Outcome.ERROR else lines[1:])][:2]


def _covered(group: Sequence[Change]) -> Entry:
    """Changes of a kernel's coverage: counts by check."""
    shown = group[0].shown
    checks = Counter(change.shown.check for change in group)
    formats = {change.shown.formats for change in group}
    counts = ", ".join(f"{name} {count}" for name, count in checks.most_common(8))
    more = f" and {len(checks) - 8} more" if len(checks) > 8 else ""
    what = f"[{short_formats(shown.formats)}]" if len(formats) == 1 else f"{len(formats)} sets of formats"
    reason = _kernel(group[0])[-1]
    return Entry(
        kernel=clean(shown.kernel, 80),
        where=clean(f"{what}, on {group[0].devices}", 120),
        count=len(group),
        what=clean(f"{counted(len(group), 'check')} ({counts}{more}), {_outcomes(group[0])}", 400),
        details=(clean(reason, 240),) if reason else (),
    )


def _what(change: Change) -> str:
    a, b = change.a, change.b
    if change.moves:
        return "; ".join(move.text() for move in change.moves)
    if a is None or b is None:
        return _outcomes(change)
    if change.kind in (Kind.SLOWER, Kind.FASTER) and a.timing is not None and b.timing is not None:
        return f"{_ratio(a.timing)} -> {_ratio(b.timing)} times {a.timing.against}"
    if change.kind is Kind.PROMISE:
        return f"{_outcomes(change)}; {_contract_change(a.contract, b.contract)}"
    known = " -> ".join(dict.fromkeys(one.known for one in (a, b) if one.known))
    return f"{_outcomes(change)}{f', known as {known}' if known else ''}"


def _contract_change(a: str, b: str) -> str:
    """The words of the contracts that only one of them has."""
    ours, theirs = a.split(", "), b.split(", ")
    gone, new = [one for one in ours if one not in theirs], [one for one in theirs if one not in ours]
    return f"promised {', '.join(gone) or 'the rest'}; promises {', '.join(new) or 'the rest'}"


def _ratio(timing: Timing) -> str:
    return f"{timing.ratio:.3f} ({timing.low:.3f} to {timing.high:.3f})"


def _outcomes(change: Change) -> str:
    ours, theirs = _outcome(change.a), _outcome(change.b)
    return ours if ours == theirs else f"{ours} -> {theirs}"


def _outcome(record: Record | None) -> str:
    return "not there" if record is None else record.outcome.value


def _unjudged_reason(change: Change) -> str:
    """Why the run that did not judge did not, or ""."""
    records = [one for one in (change.b, change.a) if one is not None and not one.outcome.judged]
    return records[0].reason.partition("\n")[0] if records else ""


def _size(change: Change) -> float:
    """How bad: how far beyond chance, or beyond what is allowed."""
    if change.moves:
        return max((max(one.a, one.b) / one.chance if one.chance else float("inf")) for one in change.moves)
    shown = change.b if change.b is not None and change.b.outcome.failed else change.a or change.b
    return shown.measured / shown.allowed if shown is not None and shown.measured and shown.allowed else 0.0
