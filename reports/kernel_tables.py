"""The tables of a kernel's section: contracts, budgets, special values, laws, drift and speed, of its records alone."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lastbit.reports.contract_words import promises, reasons
from lastbit.reports.lanes import arrow, utilisation
from lastbit.reports.speed import duration
from lastbit.reports.summary import GOLDEN_STATES, ORDER, bounded, clean, measured
from lastbit.reports.svg_axes import short
from lastbit.verdict import Outcome, Record

#: Checks of special values and of ends of ranges, with what they put in.
SPECIAL = {
    "special": "NaN, infinities, zeros",
    "gradients_special": "NaN, infinities",
    "masked_values": "NaN and infinities of masked keys",
    "gradients_masked_values": "NaN and infinities of masked keys",
    "packed_leaks": "NaN of a neighbour sequence",
    "packed_empty": "sequences without tokens",
    "unused": "NaN where no token is",
    "padding": "tokens of no slot",
    "saturation": "beyond the largest number",
    "levels": "every code, subnormals too",
    "blocks": "groups of zeros, constants, extremes",
    "given_scales": "subnormal, negative and huge scales",
    "scales": "every scale, subnormals too",
    "zero_points": "every zero point",
    "global_scale": "NaN, infinite and extreme scales",
    "boundaries": "ties, ends of binades and of ranges",
    "exhaustive": "every number of the format",
}
#: Checks of laws, with what they ask.
LAWS = {
    "repeat": "the same call gives the same bits",
    "gradients_repeat": "the same call gives the same gradients",
    "second_call": "nothing is remembered of an earlier call",
    "gradients_second_call": "gradients remember nothing of an earlier call",
    "packed_second_call": "a packed batch remembers nothing of an earlier call",
    "slices": "a row does not depend on the other rows",
    "gradients_slices": "a sequence's gradients do not depend on the others",
    "alone": "a sequence does not depend on the others",
    "packed_order": "a sequence does not depend on its place",
    "relocate": "the pages that hold the tokens do not matter",
    "permutation": "the order of rows or keys does not matter",
    "scaling": "a power of two changes the exponent alone",
    "powers_of_two": "a power of two changes no code",
    "shift": "a constant added to all logits changes nothing but roundings",
    "decode": "a decode step is the row of the prefill",
    "chunks": "parts of the keys, combined, are the whole",
    "gradients_laws": "gradients are linear in the upstream one",
    "monotone": "a larger number becomes no smaller one",
    "order": "a larger number has no smaller code, a token its own slot",
    "idempotent": "a number that the target has stays",
    "round_trip": "codes survive being quantized again",
}
#: Notes that a law's check leaves, by name.
_LAW_NOTES = (
    "repeatability", "batch invariance", "row permutation", "permutation", "power-of-two scaling", "decode step",
    "relocation", "chunks", "sequence order", "shift", "laws", "order",
)  # fmt: skip
#: Rows of a table that are shown; the rest is counted.
MOST = 10


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain text under heads, and a sentence where rows are left out or there are none."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: str = ""


def tables(records: Sequence[Record]) -> list[Table]:
    """Every table of one kernel's records, in the order of a report."""
    numbers = [record for record in records if record.timing is None]
    return [
        contracts(numbers),
        budgets(numbers),
        special(numbers),
        laws(numbers),
        drift(records),
        speed(records),
    ]


def contracts(records: Sequence[Record]) -> Table:
    """What the kernel promises beside the defaults, and for which formats."""
    of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        of[record.contract, record.source].add(record.formats)
    every = {record.formats for record in records}
    rows = []
    for (contract, source), formats in of.items():
        names = "all" if formats == every else _listed(sorted({arrow(one) for one in formats}), 8)
        words = " ".join(one.words for one in promises(contract)) or "What lastbit asks of every kernel of the op."
        shown = clean(contract, 300) or "defaults"
        rows.append((names, shown, clean(words, 800), clean(source, 300) or "lastbit's default"))
    return _cut("What it promises", ("formats", "contract", "in words", "published"), rows, "")


def budgets(records: Iterable[Record]) -> Table:
    """Of each check, the formula behind the record that came nearest to its budget, and why it is allowed."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.outcome.judged and record.formula:
            found["; ".join(reasons(record.formula)[1])].append(record)
    rows = []
    for why, members in sorted(found.items(), key=lambda item: -len(item[1])):
        nearest = max(members, key=lambda record: _used(record) or 0.0)
        used = _used(nearest)
        share = short(used) if used is not None else "not measured" if bounded(nearest) else "none allowed"
        checks = _listed(sorted({record.check for record in members}), 10)
        rows.append((checks, clean(reasons(nearest.formula)[0], 400), clean(why, 600), share))
    why_none = "No check of this kernel was judged by a formula."
    head = ("checks", "formula, of the record nearest to it", "what it accounts for", "share used")
    return _cut("What is allowed, and why", head, rows, why_none)


def special(records: Sequence[Record]) -> Table:
    """How the checks of special values and ends of ranges came out, by check and data."""
    members = [record for record in records if record.check in SPECIAL]
    every = {record.formats for record in records}
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in members:
        if record.outcome not in (Outcome.UNSUPPORTED, Outcome.NOT_TESTED):
            found[record.check, record.case.partition("/")[0]].append(record)
    rows = []
    for (check, data), group in sorted(found.items(), key=lambda item: (_worst(item[1]), item[0])):
        said = _first_line(min(group, key=lambda record: ORDER.index(record.outcome)).reason)
        rows.append((check, SPECIAL[check], clean(data, 40), _counts(group), _formats(group, every), clean(said, 160)))
    silent = Counter(record.outcome.value.replace("_", " ") for record in members if not record.outcome.judged)
    rest = ", ".join(f"{count} {name}" for name, count in silent.items())
    why_none = "No check of special values ran for this kernel."
    head = ("check", "values", "data", "outcome", "formats", "found")
    return _cut("Special values", head, rows, why_none, f"Not judged: {rest}." if rest else "")


def laws(records: Sequence[Record]) -> Table:
    """What was found of determinism and invariance, promised or not."""
    every = {record.formats for record in records}
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.check in LAWS and record.outcome is not Outcome.UNSUPPORTED:
            said = _first_line(record.reason) if record.outcome is not Outcome.PASS else _law_note(record)
            found[record.check, said].append(record)
    ordered = sorted(found.items(), key=lambda item: (list(LAWS).index(item[0][0]), _worst(item[1]), item[0][1]))
    rows = [
        (check, LAWS[check], _counts(members), _formats(members, every), clean(said, 160))
        for (check, said), members in ordered
    ]
    head = ("check", "asks", "outcome", "formats", "found")
    return _cut("Determinism and invariance", head, rows, "No check of a law ran for this kernel.")


def drift(records: Iterable[Record]) -> Table:
    """What moved against the golden baseline, by state, and what is said of it."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.golden:
            state, _, moved = record.golden.partition(":")
            found[state, moved.strip() if state != "new" else ""].append(record)
    order = {state: place for place, state in enumerate(GOLDEN_STATES)}
    ordered = sorted(found.items(), key=lambda item: (order.get(item[0][0], len(order)), -len(item[1]), item[0][1]))
    rows = [
        (
            clean(state, 20),
            str(len(members)),
            _listed(sorted({record.check for record in members}), 6),
            clean(moved, 200),
        )
        for (state, moved), members in ordered
    ]
    why_none = "No record was compared with a golden baseline."
    return _cut("Drift against golden", ("state", "records", "checks", "what moved"), rows, why_none)


def speed(records: Iterable[Record]) -> Table:
    """Times, and what share of the device's limit they reach."""
    rows = []
    for record in records:
        timing = record.timing
        if timing is not None:
            rows.append(
                (
                    arrow(record.formats),
                    record.device,
                    clean(record.case, 40),
                    duration(timing.ns) if timing.ns else "not timed",
                    f"{timing.ratio:.3f} ({timing.low:.3f} to {timing.high:.3f})" if timing.ratio else "",
                    clean(timing.against, 40),
                    f"{timing.reached:.0%} of {duration(timing.limit_ns)} ({timing.bound})"
                    if timing.reached
                    else "no limit known",
                    record.outcome.value,
                )
            )
    why_none = "Not timed in this run; speed is judged with --lastbit-perf."
    head = ("formats", "device", "case", "a call", "ratio", "beside", "limit reached", "verdict")
    return _cut("Speed", head, rows, why_none)


def _used(record: Record) -> float | None:
    """What the record used of what it was allowed, an element's error or a statistic; None where there is none."""
    if not (bounded(record) and measured(record)):
        return None
    return record.measured if record.allowed == 1.0 else utilisation([record])


def _cut(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], why_none: str, note: str = "") -> Table:
    rest = f"{len(rows) - MOST} more rows are in run.jsonl." if len(rows) > MOST else ""
    said = " ".join(filter(None, (note, rest if rows else why_none)))
    return Table(title, head, tuple(rows[:MOST]), said)


def _law_note(record: Record) -> str:
    return "; ".join(record.notes[name] for name in _LAW_NOTES if name in record.notes)


def _counts(members: Iterable[Record]) -> str:
    counts = Counter(record.outcome for record in members)
    return ", ".join(f"{counts[one]} {one.value.replace('_', ' ')}" for one in ORDER if counts[one])


def _worst(members: Iterable[Record]) -> int:
    return min(ORDER.index(record.outcome) for record in members)


def _formats(members: Iterable[Record], every: Collection[str]) -> str:
    """The formats of the records; "all" where they are `every` one that the kernel has."""
    if len({record.formats for record in members}) == len(every) > 1:
        return "all"
    return _listed(sorted({arrow(record.formats) for record in members}), 4)


def _listed(names: Sequence[str], most: int) -> str:
    return clean(", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else ""), 300)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def largest(records: Iterable[Record]) -> tuple[str, str]:
    """The largest error / allowed error and the largest error in ulp over what was judged, as text; "" for none."""
    found = [record for record in records if record.outcome.judged and measured(record)]
    with_bound = [record for record in found if bounded(record)]
    ulp = max((record.stats.max_ulp for record in found if record.stats is not None), default=None)
    share = short(utilisation(with_bound)) if with_bound else ""
    return share, short(ulp) if ulp is not None else ""
