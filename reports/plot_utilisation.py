"""What share of its allowed error a kernel uses, by the distribution of the data."""

from collections.abc import Mapping, Sequence

from lastbit.reports.figure import Figure, nothing
from lastbit.reports.lanes import Lane, shown, utilisation
from lastbit.reports.summary import bounded, clean
from lastbit.reports.svg_axes import Axis, short
from lastbit.reports.svg_plot import Plot, Reference, Series

#: Recipes that are drawn, those nearest the budget; and the utilisations beyond which points lie on the edge.
MOST, LEAST, BEYOND = 8, 1e-4, 100.0
#: Pixels of a row.
ROW = 17
#: From this ratio of the largest to the smallest utilisation on, the axis is logarithmic.
WIDE = 30.0
TITLE = "Share of the allowed error, by data"
#: How to read the plot.
READING = (
    f"{TITLE}. The largest error / allowed error of all checks with a bound, by kind of data; beyond 1 the contract is "
    "broken.",
)

#: The largest utilisation by recipe, of each lane by its label.
Shares = Mapping[str, Mapping[str, float]]


def figure(found: Sequence[Lane]) -> Figure:
    """The largest error / allowed error of each lane on each recipe of data, over the checks that have a bound."""
    shares = {lane.label: by_recipe(lane) for lane in found}
    drawn, rest = shown([lane for lane in found if shares[lane.label]])
    if not drawn:
        return nothing(TITLE, "Not drawn: no check of this kernel has an allowed error; one result is right in each.")
    labels = [lane.label for lane in drawn]
    largest = _largest({label: shares[label] for label in labels})
    recipes = sorted(largest, key=lambda recipe: (-largest[recipe], recipe))
    kept = recipes[:MOST]
    nearest = next(label for label in labels if shares[label].get(kept[0]) == largest[kept[0]])
    text = f"Largest: {short(largest[kept[0]])}, {nearest} on {clean(kept[0], 40)}."
    left = f"{len(recipes) - MOST} more kinds of data are further from their budgets." if len(recipes) > MOST else ""
    rows = tuple((clean(recipe, 60), *(_cell(shares[label].get(recipe)) for label in labels)) for recipe in kept)
    said = " ".join(filter(None, (text, left, rest)))
    return Figure(TITLE, said, _plot(labels, kept, shares), ("data", *labels), rows)


def by_recipe(lane: Lane) -> dict[str, float]:
    """The largest utilisation of a lane on each recipe of data."""
    found: dict[str, float] = {}
    for record in lane.records:
        if bounded(record):
            recipe = record.case.partition("/")[0]
            found[recipe] = max(found.get(recipe, 0.0), utilisation([record]))
    return found


def _plot(labels: Sequence[str], recipes: Sequence[str], shares: Shares) -> Plot:
    series = tuple(
        Series(label, _points(shares[label], recipes), "points", style) for style, label in enumerate(labels)
    )
    values = [value for one in series for value, _ in one.points if value > 0]
    wide = max([1.0, *values]) > WIDE * min([1.0, *values])
    edges = " (cut at 1e-4 and 100)" if {LEAST, BEYOND} & set(values) else ""
    return Plot(
        TITLE,
        "",
        Axis(f"error / allowed{edges}", "log" if wide else "linear", None if wide else 0.0, max([1.0, *values])),
        Axis("", "rows", names=tuple(clean(recipe, 24) for recipe in recipes)),
        series,
        (Reference(1.0, "allowed"),),
        max(ROW * len(recipes), 3 * ROW),
    )


def _points(shares: Mapping[str, float], recipes: Sequence[str]) -> tuple[tuple[float, float], ...]:
    drawn = {recipe: min(max(share, LEAST), BEYOND) if share else 0.0 for recipe, share in shares.items()}
    return tuple((drawn[recipe], float(row)) for row, recipe in enumerate(recipes) if recipe in drawn)


def _largest(shares: Shares) -> dict[str, float]:
    recipes = {recipe for one in shares.values() for recipe in one}
    return {recipe: max(one.get(recipe, 0.0) for one in shares.values()) for recipe in recipes}


def _cell(value: float | None) -> str:
    return "" if value is None else short(value)
