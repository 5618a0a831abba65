"""The matrix of a report's page: every kernel, formats and device of each op, as a grid or, where few meet, a list."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from lastbit.references.format_table import ROWS
from lastbit.reports import summary
from lastbit.reports.html import rendered
from lastbit.reports.kernel_section import anchor
from lastbit.reports.page_parts import FAILS, KNOWN, ODD, number, standing, word
from lastbit.reports.summary import Row, clean, counted, short_formats
from lastbit.verdict import Outcome, Record

#: A grid has at most as many columns, and at least this share of its cells filled.
MOST_COLUMNS, FILLED = 20, 0.4
#: With more cells than this, ops in which nothing fails are folded.
OPEN_CELLS = 120
LEGEND = (
    "Each cell has the worst outcome, the largest error as a share of what is allowed, and the largest error in ulp "
    "(large where sums cancel). The sign repeats the colour: ✓ passes, ✗ fails, ! fails as a known finding, "
    "? says nothing, – was not judged."
)
LIST_LEGEND = (
    " Bias is the most significant lean of a check's errors: -1 is all towards zero, +1 all away from it. The last "
    "column names the check that failed worst, or else came nearest to what is allowed."
)
_FORMATS = tuple(ROWS)
_LIST_HEADS = (
    "formats",
    "device",
    "outcome",
    "error / allowed",
    "largest ulp",
    "bias",
    "checks",
    "not judged",
    "worst in",
)


@dataclass(frozen=True, slots=True)
class Op:
    """The kernels of one op as a table."""

    op: str
    #: What its heading says beside the op.
    told: str
    caption: str
    heads: tuple[str, ...]
    rows: Markup
    #: Whether columns are formats, else each row is one cell.
    columns: bool
    open: bool


def stands(row: Row) -> tuple[str, str, str]:
    """Class, sign and word of a kernel's row."""
    outcomes = [outcome for outcome, _ in row.counts]
    if row.failed:
        worst = next((word(outcome) for outcome in outcomes if outcome.failed), "finding gone")
        return (*FAILS, worst)
    if row.known:
        return (*KNOWN, "known")
    shown = Outcome.PASS if Outcome.PASS in outcomes else outcomes[0]
    return (*standing(shown), word(shown))


def matrix(records: Sequence[Record]) -> Markup:
    """The matrix of the records of results, with its filter."""
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.op].append(record)
    rows = {op: summary.rows(members) for op, members in sorted(grouped.items())}
    total = sum(map(len, rows.values()))
    ops = [_op(op, members, total) for op, members in rows.items()]
    found = {name for members in rows.values() for row in members for name in _outcomes(row)}
    return rendered(
        "matrix.html",
        legend=LEGEND + (LIST_LEGEND if any(not op.columns for op in ops) else ""),
        ops=ops,
        outcomes=[name for name in ("known", *(outcome.value for outcome in summary.ORDER)) if name in found],
    )


def _op(op: str, rows: Sequence[Row], total: int) -> Op:
    columns = sorted({(row.formats, row.device) for row in rows}, key=lambda column: (column[1], _order(column[0])))
    kernels = len({row.kernel for row in rows})
    grid = 1 < len(columns) <= MOST_COLUMNS and len(rows) >= FILLED * kernels * len(columns)
    several = len({device for _, device in columns}) > 1
    heads = tuple(_head(*column, several) for column in columns) if grid else _LIST_HEADS
    made = _grid(rows, columns) if grid else [_listed(row) for row in rows]
    counts = Counter(stands(row)[0] for row in rows)
    names = (("f", "fail"), ("k", "known"), ("v", "say nothing"), ("p", "pass"), ("n", "not judged"))
    told = ", ".join(f"{counts[key]} {name}" for key, name in names if counts[key])
    caption = "kernel by formats" if grid else "a row for each kernel, formats and device"
    lines = Markup("\n").join(made)
    is_open = total <= OPEN_CELLS or bool(counts["f"])
    told = f"{counted(kernels, 'kernel')}, {counted(len(rows), 'cell')}: {told}"
    return Op(clean(op, 60), told, caption, heads, lines, grid, is_open)


def _order(formats: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a set of formats: wide ones first, as the table of formats has them."""
    names = [part.rpartition(":")[2] for part in formats.split()]
    return tuple((_FORMATS.index(name) if name in _FORMATS else len(_FORMATS), name) for name in names)


def _head(formats: str, device: str, several: bool) -> str:
    return clean(short_formats(formats) + (f" @{device}" if several else ""), 60)


def _grid(rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> list[Markup]:
    cells: dict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
    for row in rows:
        cells[row.kernel][row.formats, row.device] = row
    made = []
    for kernel, found in cells.items():
        filled = [_cell(found[column]) if column in found else Markup("<td></td>") for column in columns]
        made.append(Markup("<tr>{}{}</tr>").format(_kernel(kernel), Markup("").join(filled)))
    return made


def _kernel(kernel: str) -> Markup:
    return Markup('<th scope="row"><a href="#{}">{}</a></th>').format(anchor(kernel), clean(kernel, 80))


def _cell(row: Row) -> Markup:
    tone, sign, text = stands(row)
    figures = [number(row.utilisation)] if row.utilisation is not None else []
    odd = [(outcome, count) for outcome, count in row.counts if standing(outcome) == ODD]
    figures += [f"{number(row.max_ulp)} ulp"] if row.max_ulp is not None else []
    figures += [f"{count} {word(outcome)}" for outcome, count in odd]
    cell = Markup('<td class="c {}" data-o="{}"><a href="#{}">{} {}</a><small>{}</small></td>')
    return cell.format(tone, " ".join(_outcomes(row)), anchor(row.kernel), sign, text, " · ".join(figures))


def _listed(row: Row) -> Markup:
    tone, sign, text = stands(row)
    counts = dict(row.counts)
    unjudged = sum(count for outcome, count in row.counts if not outcome.judged)
    judged = sum(counts.values()) - unjudged + row.known
    failed = sum(count for outcome, count in row.counts if outcome.failed)
    parts = [f"{failed} fail"] * bool(failed) + [f"{row.known} known"] * bool(row.known)
    said = f"{', '.join(parts)} of {judged}" if parts else str(judged)
    plain = (clean(short_formats(row.formats), 60), clean(row.device, 30))
    outcome = Markup('<td class="c {}" data-o="{}">{} {}</td>').format(tone, " ".join(_outcomes(row)), sign, text)
    worst = clean(row.worst, 40) if judged else ""
    bias = "" if row.bias is None else f"{row.bias:+.2f}"
    figures = (number(row.utilisation), number(row.max_ulp), bias, said, str(unjudged or ""))
    cells = [f"<td>{escape(cell)}</td>" for cell in plain]
    cells += [outcome, *(f'<td class="r">{escape(cell)}</td>' for cell in figures)]
    return Markup(f"<tr>{_kernel(row.kernel)}{''.join(cells)}<td>{escape(worst)}</td></tr>")


def _outcomes(row: Row) -> list[str]:
    return [*(["known"] if row.known else []), *(outcome.value for outcome, _ in row.counts)]
