"""Plots in a real browser: no label lies on another or outside its picture, and marks are as large as they are meant.

Needs a Chromium of the system, which lays out one page without a network.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import pytest

from lastbit.reports.kernel_section import figures
from lastbit.reports.svg import STYLE, render
from lastbit.reports.svg_axes import Axis
from lastbit.reports.svg_plot import Plot, Reference, Series
from lastbit.verdict import Record

from .record_examples import record

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Texts that overlap (by more than a pixel across and three down, which descenders take) or lie outside, by picture.
MEASURE = """
const found = [...document.querySelectorAll("svg.plot")].map(svg => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect()]);
  const trouble = texts.filter(([_, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => "outside: " + text);
  texts.forEach(([text, a], i) => texts.slice(0, i).forEach(([other, b]) => {
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
      trouble.push("overlap: " + text + " and " + other);
  }));
  const mark = svg.querySelector(".k0");
  return [trouble, texts.length, mark ? getComputedStyle(mark).strokeWidth : ""];
});
document.body.append(Object.assign(document.createElement("pre"), {id: "found", textContent: JSON.stringify(found)}));
"""
#: Formats, and how far their errors spread, in bins of a histogram.
SPREADS = (("bf16", 11), ("f16", 20), ("e4m3fnuz", 40), ("f32", 60), ("f64", 72), ("i8", 2))
Found = list[tuple[list[str], int, str]]


def laid_out(pictures: Sequence[str], folder: Path) -> Found:
    """For each picture, what is wrong with its texts, how many there are, and the width of its round marks."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    page = folder / "page.html"
    style = f"<style>body {{ width: 460px; }} {STYLE}</style>"
    body = "".join(pictures)
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>plots</title>{style}<body>{body}<script>{MEASURE}</script>",
        encoding="utf-8",
    )
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None
    found: Found = json.loads(unescape(match[1]))
    return found


def members() -> list[Record]:
    """Records of six formats over several kinds of data and lengths, from tiny to huge errors."""
    return [
        record(
            formats=f"a:{fmt} b:{fmt} out:f32",
            case=f"{recipe}/m17-n33-k{length}",
            histogram=tuple((bin, 100 - abs(bin)) for bin in range(-spread, spread)),
            terms=length,
            allowed_ulp=0.5 + length * 10.0 ** (place - 4),
            max_ulp=2.0 ** (spread / 2),
            utilisation=0.9 / 7**place,
            device=f"cuda:{place}",
        )
        for place, (fmt, spread) in enumerate(
            (("bf16", 11), ("f16", 20), ("e4m3fnuz", 40), ("f32", 60), ("f64", 72), ("i8", 2))
        )
        for recipe in ("normal", "a_kind_of_data_with_a_long_name", "wwwwmmmmwwww")
        for length in (1, 17, 129, 4096, 1_000_000)
    ]


def hostile() -> list[Plot]:
    """Plots at the ends of what the axes can show."""
    wide = "a name that is much too long for any plot to show it whole"
    names = tuple(f"kernel {n} f32" for n in range(12))
    near = tuple((1.0 + n / 50, 1e-7 * (1 + n / 9)) for n in range(12))
    return [
        Plot("t", "", Axis(wide, "log"), Axis(wide, "log"), (Series(wide, ((1e-300, 1e300), (1e300, 1e-300))),)),
        Plot("t", "", Axis("x"), Axis("y"), (Series("a", ((-1.7e308, 0.0), (1.7e308, 1e-9))),)),
        Plot("t", "", Axis("x", "log"), Axis("y", "log"), (Series("a", ((0.0, 0.0), (1.0, 1e-7), (1e6, 1.0))),)),
        Plot(
            "t", "", Axis("x"), Axis("", "rows", names=(wide,) * 3), (Series(wide, ((1.0, 0.0),), "points"),), height=60
        ),
        *(
            Plot("t", "", Axis("x"), Axis("", "rows", names=(name,) * 3), (Series("", ((1.0, 0.0),), "points"),))
            for name in ("mxfp8_e4m3fn mxfp8_e4m3fn → bf16 cuda:0", "WMWMWMWMWMWMWMWMWMWMWMWM", "iiii llll 1111 : ....")
        ),
        Plot("t", "", Axis("x", "log"), Axis("y", "log"), (Series("", near, "points", names=names),), height=260),
        Plot(
            "t",
            "",
            Axis("x"),
            Axis("y"),
            (),
            (Reference(0.5, "half an ulp"), Reference(0.51, "allowed"), Reference(1, "b")),
        ),
        Plot("t", "", Axis("x"), Axis("y"), tuple(Series(f"{wide} {n}", ((n, n),), style=n) for n in range(8))),
    ]


def test_labels_are_apart_and_inside(tmp_path: Path) -> None:
    planted = (
        '<svg class="plot" viewBox="0 0 100 50"><text x="10" y="20">one</text><text x="12" y="22">other</text>'
        '<text x="90" y="40">beyond the edge</text></svg>'
    )
    pictures = [str(one.picture) for one in figures(members()) if one.plot is not None]
    assert len(pictures) == 4
    found = laid_out([planted, *pictures, *(str(render(plot)) for plot in hostile())], tmp_path)
    assert found[0][0] == ["outside: beyond the edge", "overlap: other and one"]
    assert [trouble for trouble, _, _ in found[1:]] == [[]] * (len(found) - 1)
    assert all(count > 5 for _, count, _ in found[1:])
    assert {mark for _, _, mark in found if mark} == {"6px"}
