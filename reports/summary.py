"""What every report says of a run: one row a kernel and formats, failures grouped, the verdict in one sentence."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lastbit.verdict import Outcome, Record

#: How bad an outcome is, worst first: the order of counts in a row and of failures in a report.
ORDER = (
    Outcome.ERROR,
    Outcome.CRASHED,
    Outcome.TIMED_OUT,
    Outcome.WRONG_STRUCTURE,
    Outcome.WRONG_CLASS,
    Outcome.OVER_BUDGET,
    Outcome.LAW_BROKEN,
    Outcome.REGRESSED,
    Outcome.SLOW,
    Outcome.INCONCLUSIVE,
    Outcome.VACUOUS,
    Outcome.PASS,
    Outcome.UNSUPPORTED,
    Outcome.NOT_TESTED,
)
#: Kernels of a known finding that are named.
SHOWN = 6
#: Golden states from the one to look at first.
GOLDEN_STATES = ("drifted", "stale", "better", "new", "same")


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel with one set of formats on one device, over all its checks."""

    kernel: str
    formats: str
    device: str
    #: Outcomes and how often, worst first; known findings are in `known` instead.
    counts: tuple[tuple[Outcome, int], ...]
    known: int
    #: Over judged records of which errors were measured; utilisation over those that allow an error. None for none.
    utilisation: float | None
    max_ulp: float | None
    #: The most significant one: |bias| sqrt(n) is largest.
    bias: float | None
    golden: tuple[tuple[str, int], ...]
    #: The judged check that failed worst, or else came nearest its budget.
    worst: str
    #: Whether one of its records makes the run fail.
    failed: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Records that say the same: one kernel, formats, device, check and outcome."""

    #: The one shown: the largest measured / allowed.
    shown: Record
    count: int


def rows(records: Iterable[Record]) -> list[Row]:
    """One row a kernel, formats and device, failing ones first, else by name."""
    grouped: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.kernel, record.formats, record.device].append(record)
    made = [_row(*key, members) for key, members in grouped.items()]
    return sorted(made, key=lambda row: (not row.failed, row.kernel, row.formats, row.device))


def failures(records: Iterable[Record]) -> list[Group]:
    """What makes the run fail, one group a check: the worst of each kernel first, then the second of each.

    That is failures that are no known findings, and findings that no longer happen.
    """
    turns: Counter[str] = Counter()
    taken = []
    for group in _groups(record for record in records if record.failed):
        turns[group.shown.kernel] += 1
        taken.append((turns[group.shown.kernel], group))
    return [group for _, group in sorted(taken, key=lambda item: item[0])]


def known(records: Iterable[Record]) -> list[tuple[str, int, str]]:
    """(id, checks, kernels in words) of the known findings that happened, by id."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.known and record.outcome.failed:
            found[record.known][record.kernel] += 1
    ordered = sorted(found.items(), key=lambda item: (len(item[0]), item[0]))
    return [(name, kernels.total(), _named(list(kernels))) for name, kernels in ordered]


def known_lines(records: Iterable[Record]) -> list[str]:
    """The known findings that happened, by id: how many checks show each, and of which kernels."""
    return [f"{name}: {counted(checks, 'check')} of {kernels}" for name, checks, kernels in known(records)]


def unjudged(records: Iterable[Record]) -> list[tuple[Outcome, str, int, int]]:
    """(outcome, reason, checks, kernels) of what was not judged, most frequent first; silence is never a pass."""
    counts: Counter[tuple[Outcome, str]] = Counter()
    kernels: dict[tuple[Outcome, str], set[str]] = defaultdict(set)
    for record in records:
        if not record.outcome.judged:
            key = record.outcome, clean(record.reason.partition("\n")[0], 160) or "no reason given"
            counts[key] += 1
            kernels[key].add(record.kernel)
    ordered = sorted(counts.items(), key=lambda item: (ORDER.index(item[0][0]), -item[1], item[0][1]))
    return [(outcome, reason, count, len(kernels[outcome, reason])) for (outcome, reason), count in ordered]


def verdict(records: Sequence[Record], gone: int = 0, complete: bool = True) -> str:
    """The run in one sentence; `gone` counts known findings that no longer happen, which fails a whole run.

    A run that is not `complete` may fail, but conforms in no case.
    """
    judged = [record for record in records if record.outcome.judged]
    if not judged:
        return f"NOTHING JUDGED: {len(records)} records, none of them says anything about a kernel."
    names = {record.kernel for record in judged}
    bad = sorted({record.kernel for record in records if record.failed})
    passed = sum(record.outcome is Outcome.PASS for record in records)
    rest = Counter(record.outcome for record in records if not record.outcome.judged)
    tail = [f"{n} {outcome.value.replace('_', ' ')}" for outcome, n in sorted(rest.items(), key=lambda i: -i[1])]
    found = sum(bool(record.known) and record.outcome.failed for record in records)
    tail = ([f"{counted(found, 'failure')} known as findings"] if found else []) + tail
    ending = f" ({', '.join(tail)})." if tail else "."
    if bad:
        failed = sum(record.failed for record in records)
        shown = ", ".join(clean(name, 60) for name in bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")
        share = f"{len(bad)} of {counted(len(names), 'kernel')} {'fails' if len(bad) == 1 else 'fail'}"
        return f"DOES NOT CONFORM: {share} {failed} of {counted(len(judged), 'check')}: {shown}{ending}"
    but = f", BUT {counted(gone, 'known finding')} no longer as recorded" if gone else ""
    word = "CONFORMS" if complete else "INCOMPLETE, conforms so far"
    return f"{word}{but}: {counted(len(names), 'kernel')}, {counted(passed, 'check')} passed{ending}"


def short_formats(formats: str) -> str:
    """ "a:bf16 b:bf16 out:f32" as "bf16 -> f32", and "f32" where all are the same."""
    pairs = [part.partition(":")[::2] for part in formats.split()]
    inputs = list(dict.fromkeys(fmt for name, fmt in pairs if name != "out"))
    output = next((fmt for name, fmt in pairs if name == "out"), "")
    return output if inputs in ([], [output]) else f"{'*'.join(inputs)} -> {output}" if output else "*".join(inputs)


def clean(text: str, width: int = 400) -> str:
    """`text` on one line and safe to print: control, format and surrogate characters escaped, cut at `width`."""
    if len(text) <= width and text.isprintable():
        return text
    shown = "".join(_printable(char) for char in text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _printable(char: str) -> str:
    if char in "\n\t":
        return " "
    return char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else ascii(char)[1:-1]


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def counted(number: int, noun: str) -> str:
    """ "1 check", "2 checks"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bounded(record: Record) -> bool:
    """Whether the record compares errors with an allowed error above zero; where one result is right there is none.

    One that fails for its NaN, infinities or zeros allows none of these, and yet compares the rest.
    """
    return bool(record.formula) and record.stats is not None and (record.allowed == 1.0 or record.allowed_ulp > 0)


def measured(record: Record) -> bool:
    """Whether some result could be compared with its truth: of a kernel that returns nothing but NaN, none can."""
    if record.stats is None or record.stats.n == 0:
        return False
    return record.outcome is not Outcome.WRONG_CLASS or record.stats.max_ulp > 0


def _row(kernel: str, formats: str, device: str, members: list[Record]) -> Row:
    counts = Counter(record.outcome for record in members if not (record.known and record.outcome.failed))
    golden = Counter(record.golden.partition(":")[0] for record in members if record.golden)
    judged = [record for record in members if record.outcome.judged]
    compared = [record for record in judged if measured(record)]
    stats = [record.stats for record in compared if record.stats is not None]
    with_bound = [record.stats for record in compared if record.stats is not None and bounded(record)]
    biased = max(stats, default=None, key=lambda item: abs(item.bias) * item.n**0.5)
    return Row(
        kernel=kernel,
        formats=formats,
        device=device,
        counts=tuple((outcome, counts[outcome]) for outcome in ORDER if counts[outcome]),
        known=sum(bool(record.known) and record.outcome.failed for record in members),
        utilisation=max((item.utilisation for item in with_bound), default=None),
        max_ulp=max((item.max_ulp for item in stats), default=None),
        bias=biased.bias if biased else None,
        golden=tuple((state, golden[state]) for state in GOLDEN_STATES if golden[state]),
        worst=min(judged or members, key=_badness).check,
        failed=any(record.failed for record in members),
    )


def _badness(record: Record) -> tuple[bool, int, float]:
    """Sort key, worst first: unknown failures by outcome, then the nearest to its budget."""
    if record.failed:
        return (False, ORDER.index(record.outcome), -_ratio(record))
    return (True, 0, -(record.stats.utilisation if record.stats else 0.0))


def _ratio(record: Record) -> float:
    if record.measured is not None and record.allowed:
        return record.measured / record.allowed
    return record.stats.utilisation if record.stats else 0.0


def _groups(records: Iterable[Record]) -> list[Group]:
    grouped: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.kernel, record.formats, record.device, record.check, record.outcome.value, record.known].append(
            record
        )
    made = [Group(max(members, key=_ratio), len(members)) for members in grouped.values()]
    return sorted(made, key=lambda group: (ORDER.index(group.shown.outcome), group.shown.kernel, group.shown.formats))
