"""A plot with its caption and its numbers as a table, which say the same to who cannot see it."""

from dataclasses import dataclass

from markupsafe import Markup

from lastbit.reports.svg import render
from lastbit.reports.svg_plot import Plot


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a report; texts are plain."""

    title: str
    #: What is drawn, of which checks and data; or why nothing is.
    text: str
    plot: Plot | None = None
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def picture(self) -> Markup:
        """The plot as SVG; empty where there is nothing to draw."""
        return render(self.plot) if self.plot is not None else Markup("")


def nothing(title: str, why: str) -> Figure:
    """A figure that says in words why there is no plot."""
    return Figure(title, why)
