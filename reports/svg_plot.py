"""A plot as data: axes, series of points, values to see them against."""

from dataclasses import dataclass

from lastbit.reports.svg_axes import Axis


@dataclass(frozen=True, slots=True)
class Series:
    """Data of one name; points that are not finite are left out."""

    #: Its name in the legend; "" for none.
    label: str
    points: tuple[tuple[float, float], ...]
    #: "line", "step" (the value holds from its point on), "points", or "ridge" (bars on row y, see `heights`).
    kind: str = "line"
    #: Which of STYLES dashes, markers and colours.
    style: int = 0
    #: Whether points have markers.
    marked: bool = True
    #: Whether the line is a fine one, for what belongs to another series.
    thin: bool = False
    #: Of "ridge": the width of each bar's end, in the measure of x, and its height as a share of the row.
    bars: tuple[tuple[float, float], ...] = ()
    #: A name beside each point, "" for none; none at all if empty.
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that the data are to be seen against."""

    value: float
    label: str
    #: The axis that it is a value of.
    axis: str = "x"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: what it shows in words, axes, data."""

    title: str
    #: What a reader who does not see it is told, where no caption says it; may be "".
    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...] = ()
    references: tuple[Reference, ...] = ()
    #: Pixels of the data's area, downwards.
    height: int = 200
