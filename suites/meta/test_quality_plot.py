"""The plot of quantized formats: what it shows, and what is said where it cannot be drawn."""

import sys
from pathlib import Path

import pytest

from lastbit.errors import UsageError
from lastbit.references.quality import compare
from lastbit.reports.quality_plot import plot

ROWS = compare(("mxfp4", "i8_row", "gguf_q8_0"), ("gaussian", "keys"))


def test_plot_names_every_scaling_and_family(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text
    plot(ROWS, tmp_path / "formats.svg")
    drawn = (tmp_path / "formats.svg").read_text()
    for text in ("mxfp4 (4.25)", "i8_row (8)", "gguf_q8_0 (8.5)", "gaussian", "keys"):
        assert text in drawn


def test_unknown_suffix_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.raises(UsageError, match=r"a plot cannot be written to .*formats\.xyz"):
        plot(ROWS, tmp_path / "formats.xyz")


def test_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"a plot needs matplotlib: pip install 'lastbit\[report\]'"):
        plot(ROWS, tmp_path / "formats.svg")
