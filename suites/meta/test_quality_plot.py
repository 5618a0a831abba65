"""The plot of quantized formats: what it shows, and what is said where it cannot be drawn."""

from dataclasses import replace
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lastbit.errors import UsageError
from lastbit.references.quality import compare
from lastbit.reports.quality_plot import drawn, plot

ROWS = compare(("mxfp4", "i8_row", "gguf_q8_0"), ("gaussian", "keys"))


def test_plot_names_every_scaling_and_family(tmp_path: Path) -> None:
    plot(ROWS, tmp_path / "formats.svg")
    texts = list(ElementTree.parse(tmp_path / "formats.svg").getroot().itertext())
    for text in ("mxfp4 (4.25)", "i8_row (8)", "gguf_q8_0 (8.5)", "gaussian", "keys"):
        assert text in texts


def test_marks_lie_at_the_noise_of_their_scaling() -> None:
    """A row a scaling, by bits; the exact one, without noise, has no mark in the picture."""
    found = drawn(ROWS)
    names = found.y.names
    assert [name.partition(" ")[0] for name in names] == ["mxfp4", "i8_row", "gguf_q8_0"]
    for one in found.series:
        for row in ROWS:
            if row.family == one.label:
                place = next(i for i, name in enumerate(names) if name.startswith(f"{row.scaling} "))
                assert (row.sqnr_db, float(place)) in one.points
    exact = drawn([replace(row, sqnr_db=inf) for row in ROWS])
    assert all(x == inf for one in exact.series for x, _ in one.points)


@pytest.mark.parametrize(("name", "why"), [("formats.png", "it is an SVG"), ("none/formats.svg", "No such file")])
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"a plot cannot be written to .*{name}: {why}.*give"):
        plot(ROWS, tmp_path / name)
