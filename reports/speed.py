"""Comparisons of speed for people: a table, and one sentence to quote."""

from collections.abc import Sequence

from lastbit.perf.comparison import Comparison, sentence
from lastbit.perf.instructions import Counted
from lastbit.verdict import Outcome

_HEADS = ("kernel", "case", "formats", "ratio", "95 % interval", "base", "head", "clean pairs", "verdict")


def text(comparisons: Sequence[Comparison]) -> str:
    """Every comparison in a row, what is not a pass explained below, and the sentence."""
    from tabulate import tabulate

    rows = [_row(one) for one in comparisons]
    lines = [tabulate(rows, _HEADS, tablefmt="simple", disable_numparse=True), ""] if rows else []
    for one in comparisons:
        if one.outcome is not Outcome.PASS:
            lines.append(f"{one.outcome.value} {one.kernel} {one.check} {one.case} {one.formats}: {one.reason}")
    return "\n".join([*lines, sentence(comparisons)])


def instructions_text(counted: Sequence[Counted]) -> str:
    """Counts of instructions in a table, what is not a pass explained below."""
    from tabulate import tabulate

    heads = ("kernel", "case", "formats", "base", "head", "ratio", "spread", "allowed", "verdict")
    rows = [
        (
            one.kernel, f"{one.check} {one.case}", one.formats,
            *((str(one.base_count), str(one.head_count), f"{one.head_count / one.base_count:.4f}", f"{one.spread:.3%}",
               f"{one.margin:+.2%}") if one.base_count else ("",) * 5),
            one.outcome.value,
        )
        for one in counted
    ]  # fmt: skip
    lines = [tabulate(rows, heads, tablefmt="simple", disable_numparse=True)] if rows else ["nothing was counted"]
    for one in counted:
        if one.outcome is not Outcome.PASS:
            lines.append(f"{one.outcome.value} {one.kernel} {one.check} {one.case} {one.formats}: {one.reason}")
    return "\n".join(lines)


def duration(ns: float) -> str:
    """Nanoseconds as people write them: "31.4 us", "2.25 ms"."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def _row(one: Comparison) -> tuple[str, ...]:
    measured = one.taken > 0 and one.ratio > 0
    return (
        one.kernel,
        f"{one.check} {one.case}",
        one.formats,
        f"{one.ratio:.3f}" if measured else "",
        f"{one.low:.3f} to {one.high:.3f}" if measured else "",
        duration(one.base_ns) if measured else "",
        duration(one.head_ns) if measured else "",
        f"{one.clean} of {one.taken}" if one.taken else "",
        one.outcome.value,
    )
