"""How a kernel's errors are distributed: the share of elements up to an error, and on which side they lie."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from lastbit.histogram import FLOOR, Pairs, cumulative, merged
from lastbit.reports.figure import Figure, nothing
from lastbit.reports.lanes import NAMED, Lane, data_of, percent, shown, utilisation
from lastbit.reports.summary import bounded, clean
from lastbit.reports.svg_axes import Axis, short
from lastbit.reports.svg_plot import Plot, Reference, Series
from lastbit.verdict import Record

HALF = 0.5
#: The bin that ends at half an ulp.
HALF_BIN = 10
TITLE = "Distribution of errors"
#: How to read the two plots.
READING = (
    "Errors: share of elements up to an error. Added up are the errors of records of one check, one kind of data and "
    "one length of sums; of large outputs, those of a sample. A step lies at the upper end of its bin (half an "
    "octave), so that no share is overstated. Dotted: half an ulp, which one rounding may cost, and the smallest and "
    "largest allowed error of the elements that came nearest to theirs; those whose sums cancel are allowed more ulp.",
    "Errors: on which side. Left of zero a result is too small in size, as truncation makes it; right of it too large. "
    "Each row is as high as its fullest bin, and no bin is lower than a pixel; errors up to 1/64 ulp are in the table "
    "alone.",
)
#: Checks whose data are shown in preference to others: errors of ordinary results, many of them.
PREFERRED = ("bound", "large")
#: Half a bin beyond which the signed histogram is cut into the outermost bar that is drawn.
NARROWEST = 14
#: Pixels of a row of the signed histogram, and the least height of a bar as a share of the row's: a single wrong
#: element among thousands has to be seen.
ROW, SEEN = 26, 0.08


@dataclass(frozen=True, slots=True)
class Pool:
    """The comparable errors of one lane, added up."""

    label: str
    pairs: Pairs
    #: Sizes of the cases that were added, and the length of their sums (0: not known).
    cases: tuple[str, ...]
    terms: int
    max_ulp: float
    inexact: float
    #: Allowed errors in ulp of the elements that came nearest to them, smallest and largest; 0 where not known.
    allowed: tuple[float, float]
    #: The largest error / allowed error; None where one result is right.
    used: float | None

    @property
    def total(self) -> int:
        """How many elements were counted."""
        return sum(count for _, count in self.pairs)


def figures(found: Sequence[Lane]) -> list[Figure]:
    """The distribution of |error| and of the signed error, over records of one check, data and length of sums."""
    drawn, rest = shown([lane for lane in found if any(record.histogram for record in lane.records)], named=NAMED)
    if not drawn:
        why = "No record has a histogram of errors: nothing was measured, or the run is older than histograms."
        return [nothing(TITLE, why)]
    data = _data(drawn)
    pools = [pool for lane in drawn if (pool := _pool(lane, data)) is not None]
    cases = clean(", ".join(dict.fromkeys(case for pool in pools for case in pool.cases)), 80)
    text = f"Check {clean(data[0], 40)}, data {clean(' '.join(filter(None, data[1:])), 80)} ({cases}). {rest}".strip()
    if all(bin == 0 for pool in pools for bin, _ in pool.pairs):
        return [nothing(TITLE, f"{text} Every error is at most 1/64 ulp: there is no distribution to draw.")]
    return [_cumulative(pools, text), _signed(pools, text)]


def _data(found: Sequence[Lane]) -> tuple[str, str, str]:
    """The check and data with a bound and errors, if any have; of most lanes; then a preferred one, and the largest."""
    lanes_of: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    elements: Counter[tuple[str, str, str]] = Counter()
    worth: dict[tuple[str, str, str], tuple[bool, bool]] = defaultdict(lambda: (False, False))
    for lane in found:
        for record in lane.records:
            if record.histogram:
                key = data_of(record)
                lanes_of[key].add(lane.label)
                elements[key] += sum(count for _, count in record.histogram)
                worth[key] = max(worth[key], (bounded(record), any(bin for bin, _ in record.histogram)))
    return max(lanes_of, key=lambda key: (worth[key], len(lanes_of[key]), key[0] in PREFERRED, elements[key], key))


def _pool(lane: Lane, data: tuple[str, str, str]) -> Pool | None:
    """The lane's records of this check and data whose sums are of the length that has most elements."""
    members = [record for record in lane.records if record.histogram and data_of(record) == data]
    if not members:
        return None
    sizes: Counter[int] = Counter()
    for record in members:
        sizes[record.terms] += sum(count for _, count in record.histogram)
    terms = max(sizes, key=lambda length: (sizes[length], length))
    kept = [record for record in members if record.terms == terms]
    stats = [record.stats for record in kept if record.stats is not None]
    allowed = [record.allowed_ulp for record in kept if record.allowed_ulp > 0]
    return Pool(
        lane.label,
        merged(record.histogram for record in kept),
        tuple(dict.fromkeys(_sizes(record) for record in kept)),
        terms,
        max(one.max_ulp for one in stats),
        sum(one.inexact for one in stats) / max(sum(one.n for one in stats), 1),
        (min(allowed), max(allowed)) if allowed else (0.0, 0.0),
        utilisation(kept) if any(map(bounded, kept)) else None,
    )


def _sizes(record: Record) -> str:
    return record.case.partition("/")[2].partition("/")[0]


def _cumulative(pools: Sequence[Pool], text: str) -> Figure:
    steps = [_steps(pool) for pool in pools]
    end = max(x for one in steps for x, _ in one)
    series = tuple(
        Series(pool.label, ((one[0][0], 0.0), *one, (end, 1.0)), "step", style)
        for style, (pool, one) in enumerate(zip(pools, steps, strict=True))
    )
    first = pools[0]
    within = f"{percent(_share(first, HALF))} within half an ulp, largest {short(first.max_ulp)}"
    used = "" if first.used is None else f", at most {short(first.used)} of what its element is allowed"
    says = f"{first.label}: {within}{used}."
    plot = Plot(
        "Share of elements up to an error",
        "",
        Axis("|error| in ulp, at most", "log"),
        Axis("share of elements", low=0.0, high=1.0),
        series,
        (Reference(HALF, "half an ulp"), *_allowed(pools)),
    )
    head = (
        "formats",
        "elements",
        "within 1/2 ulp",
        "50 % up to",
        "99 % up to",
        "largest",
        "inexact",
        "nearest allowed",
        "terms",
    )
    rows = tuple(_row(pool) for pool in pools)
    return Figure("Errors: share of elements up to an error", f"{text} {says}", plot, head, rows)


def _steps(pool: Pool) -> list[tuple[float, float]]:
    """The steps of the distribution; what lies in the last bin, which has no end, is put at the largest error."""
    return [(x if isfinite(x) else pool.max_ulp, share) for x, share in cumulative(pool.pairs)]


def _row(pool: Pool) -> tuple[str, ...]:
    low, high = pool.allowed
    between = "" if high <= low * 1.05 else f" to {short(high)}"
    return (
        pool.label,
        str(pool.total),
        percent(_share(pool, HALF), 1),
        short(_quantile(pool, 0.5)),
        short(_quantile(pool, 0.99)),
        short(pool.max_ulp),
        percent(pool.inexact, 1),
        f"{short(low)}{between}" if low else "not recorded",
        str(pool.terms) if pool.terms else "",
    )


def _quantile(pool: Pool, share: float) -> float:
    return next((x for x, reached in _steps(pool) if reached >= share), 0.0)


def _share(pool: Pool, limit: float) -> float:
    """The share of elements in bins that end at `limit` or before."""
    return max((share for x, share in cumulative(pool.pairs) if x <= limit), default=0.0)


def _allowed(pools: Sequence[Pool]) -> list[Reference]:
    """The smallest and the largest allowed error that a record of the pools came nearest to."""
    ends = [end for pool in pools for end in pool.allowed if end]
    if not ends:
        return []
    low, high = min(ends), max(ends)
    if high <= low * 1.2:
        return [Reference(high, f"allowed {short(high)}")]
    return [Reference(low, f"allowed from {short(low)}"), Reference(high, f"to {short(high)}")]


def _signed(pools: Sequence[Pool], text: str) -> Figure:
    widest = max((abs(bin) for pool in pools for bin, _ in pool.pairs), default=0)
    reach = max(widest, NARROWEST) + 0.5
    series = tuple(_ridge(pool, row) for row, pool in enumerate(pools))
    leaning = max(pools, key=lambda pool: abs(_lean(pool)))
    says = f"{'Leans most: ' if len(pools) > 1 else ''}{leaning.label}, {_sides(leaning)}."
    plot = Plot(
        "Signed errors",
        "",
        Axis("signed error in ulp", low=-reach, high=reach, ticks=_signed_ticks(reach)),
        Axis("", "rows", names=tuple(pool.label for pool in pools)),
        series,
        (Reference(0.0, ""),),
        max(ROW * len(pools), ROW * 2),
    )
    head = ("formats", "too small", "up to 1/64 ulp", "too large", "lean")
    rows = tuple((pool.label, *_sides_in_cells(pool)) for pool in pools)
    return Figure("Errors: on which side", says, plot, head, rows)


def _ridge(pool: Pool, row: int) -> Series:
    """The bars of one lane beside the middle bin."""
    bars = [(bin, count) for bin, count in pool.pairs if bin]
    most = max((count for _, count in bars), default=1)
    return Series(
        "",
        tuple((bin - 0.5, float(row)) for bin, _ in bars),
        "ridge",
        row,
        bars=tuple((bin + 0.5, max(count / most, SEEN)) for bin, count in bars),
    )


def _signed_ticks(reach: float) -> tuple[tuple[float, str], ...]:
    """Zero, half an ulp on either side, and further powers of two, those first that are nearer to half an ulp."""
    ends = sorted(range(2, int(reach) + 1, 4), key=lambda bin: (abs(bin - HALF_BIN), bin))
    sides = [tick for bin in ends for tick in ((bin + 0.5, f"+{_edge(bin)}"), (-bin - 0.5, f"-{_edge(bin)}"))]
    return (0.0, "0"), *sides


def _edge(bin: int) -> str:
    """The upper end of an even bin, a power of two: "1/2", "8", "2^15"."""
    power = bin // 2 + FLOOR
    return f"2^{power}" if power > 9 else f"{2**power}" if power >= 0 else f"1/{2**-power}"


def _counts(pool: Pool) -> tuple[int, int, int]:
    """Elements that are too small, as good as right, and too large."""
    below = sum(count for bin, count in pool.pairs if bin < 0)
    above = sum(count for bin, count in pool.pairs if bin > 0)
    return below, pool.total - below - above, above


def _sides(pool: Pool) -> str:
    below, middle, above = _counts(pool)
    small, even, large = (percent(count / pool.total) for count in (below, middle, above))
    return f"{small} too small, {even} within 1/64 ulp, {large} too large"


def _sides_in_cells(pool: Pool) -> Iterable[str]:
    """The shares, and the lean; "" where nothing lies on a side."""
    below, middle, above = _counts(pool)
    yield from (percent(count / pool.total, 1) for count in (below, middle, above))
    yield f"{round(_lean(pool), 2) + 0.0:+.2f}" if above + below else ""


def _lean(pool: Pool) -> float:
    """How far the sides are from even: -1 is all too small, 1 all too large."""
    below, _, above = _counts(pool)
    return (above - below) / max(above + below, 1)
