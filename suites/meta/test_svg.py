"""Plots as SVG: well-formed whatever the data, every coordinate in the picture, values where the axes say they are."""

import re
from collections.abc import Iterator
from itertools import pairwise
from math import inf, isfinite, nan
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastbit.reports.svg import STYLE, TOP, document, render
from lastbit.reports.svg_axes import Axis, fit, number, position, short, ticks
from lastbit.reports.svg_labels import WIDTH
from lastbit.reports.svg_plot import Plot, Reference, Series

STEPS = settings(max_examples=150, deadline=None, derandomize=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.one_of(
    FINITE, st.sampled_from((0.0, -0.0, 1.0, 1e-300, 1e300, 5e-324, 1.7976931348623157e308, nan, inf, -inf))
)
POINTS = st.lists(st.tuples(ANY, ANY), max_size=12).map(tuple)
KINDS = st.sampled_from(("linear", "log"))
LETTERS = r"[MmLlHhVvZzAa]"


def drawn(plot: Plot) -> ElementTree.Element:
    """The picture, parsed as XML."""
    return ElementTree.fromstring(str(render(plot)))


def ends(path: str) -> Iterator[tuple[float, float]]:
    """Every place that a path of M, L, H, V, z and the relative ones of markers goes to."""
    x = y = 0.0
    for command, rest in re.findall(rf"({LETTERS})([^MmLlHhVvZzAa]*)", path):
        numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", rest)]
        steps: list[tuple[float, float]] = []
        match command:
            case "M" | "L":
                steps = [(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
            case "m" | "l":
                for a, b in zip(numbers[::2], numbers[1::2], strict=True):
                    x, y = x + a, y + b
                    yield x, y
                continue
            case "H":
                steps = [(a, y) for a in numbers]
            case "V":
                steps = [(x, b) for b in numbers]
            case "h":
                steps = [(x + sum(numbers), y)]
            case "v":
                steps = [(x, y + sum(numbers))]
        for x, y in steps:
            yield x, y


def check_inside(plot: Plot) -> None:
    root = drawn(plot)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert all(map(isfinite, (width, height)))
    for element in root.iter("path"):
        assert "nan" not in element.attrib["d"]
        assert "inf" not in element.attrib["d"]
        for x, y in ends(element.attrib["d"]):
            assert -0.05 <= x <= width + 0.05
            assert -0.05 <= y <= height + 0.05
    for element in root.iter("text"):
        assert 0 <= float(element.attrib.get("x", 0)) <= width
        assert 0 <= float(element.attrib.get("y", 0)) <= height


@STEPS
@given(
    points=POINTS,
    x=KINDS,
    y=KINDS,
    kind=st.sampled_from(("line", "step", "points")),
    style=st.integers(0, 20),
    reference=ANY,
    label=st.text(max_size=40),
)
@example(points=((0.0, 0.0),), x="log", y="log", kind="line", style=0, reference=0.0, label="")
@example(points=((1e-300, 1e300), (1e300, 1e-300)), x="log", y="log", kind="step", style=1, reference=1.0, label="a")
@example(
    points=((-1.7e308, 1.7e308), (1.7e308, 5e-324)),
    x="linear",
    y="linear",
    kind="line",
    style=2,
    reference=0.0,
    label="a",
)
@example(
    points=((1e16, 1.0), (1e16 + 2, 1.0)), x="linear", y="linear", kind="points", style=3, reference=1e16, label="a"
)
@example(points=(), x="linear", y="log", kind="points", style=3, reference=nan, label="<b>&")
def test_any_data_stay_in_the_picture(
    points: tuple[tuple[float, float], ...], x: str, y: str, kind: str, style: int, reference: float, label: str
) -> None:
    """Whatever is drawn, the picture is well-formed and nothing of it lies outside; texts are as they were, cleaned."""
    series = Series(label, points, kind, style, names=(label,) * len(points))
    plot = Plot(label, label, Axis(label, x), Axis(label, y), (series,), (Reference(reference, label),))
    check_inside(plot)
    check_inside(Plot("t", "", Axis("", x), Axis("", "rows", names=(label, "b")), (series,)))


@STEPS
@given(
    st.lists(st.tuples(FINITE, FINITE, st.floats(0, 1)), max_size=8),
    st.lists(st.text(max_size=60), min_size=1, max_size=9),
)
def test_ridges_stay_in_the_picture(bars: list[tuple[float, float, float]], names: list[str]) -> None:
    series = Series(
        "",
        tuple((begin, float(row % len(names))) for row, (begin, _, _) in enumerate(bars)),
        "ridge",
        bars=tuple((end, height) for _, end, height in bars),
    )
    check_inside(Plot("t", "", Axis("x"), Axis("", "rows", names=tuple(names)), (series,)))


@STEPS
@given(st.lists(FINITE, min_size=2, max_size=9, unique=True), KINDS)
def test_larger_values_lie_further_along(values: list[float], kind: str) -> None:
    """Order on the axis is order of values; what is not positive shares one mark at the start of a logarithmic one."""
    scale = fit(Axis("x", kind), values, 10.0, 400.0)
    places = [position(scale, value) for value in sorted(values)]
    assert places == sorted(places)
    if kind == "log":
        assert all(position(scale, value) == 10.0 for value in values if value <= 0)
        assert all(position(scale, value) > 10.0 for value in values if value > 0) or min(values) > 0


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("linear", (0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ("log", (1.0, 1e4), ["1", "10", "100", "1000", "10000"]),
        ("log", (1.0, 10.0), ["1", "2", "5", "10"]),
        ("log", (0.0, 1.0, 100.0), ["0", "1", "10", "100"]),
        ("log", (1e-300, 1e300), ["1e-300", "1e-200", "1e-100", "1", "1e100", "1e200", "1e300"]),
        (
            "linear",
            (-2e300, 2e300),
            ["-2e300", "-1.5e300", "-1e300", "-5e299", "0", "5e299", "1e300", "1.5e300", "2e300"],
        ),
    ],
)
def test_ticks_are_round_numbers(kind: str, values: tuple[float, ...], expected: list[str]) -> None:
    scale = fit(Axis("x", kind), values, 0.0, 400.0)
    found = [label for _, label in ticks(scale)]
    assert found == expected
    assert len(found) == len(set(found))


@STEPS
@given(st.lists(FINITE, min_size=1, max_size=5), KINDS)
def test_ticks_are_few_and_apart(values: list[float], kind: str) -> None:
    found = ticks(fit(Axis("x", kind), values, 0.0, 400.0))
    places = [place for place, _ in found]
    assert len(found) <= 14
    assert places == sorted(places)
    assert all(0 <= place <= 400 for place in places)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (1e-7, "1e-7"),
        (0.0001, "1e-4"),
        (65536.0, "65536"),
        (2.5e300, "2.5e300"),
        (-3e-9, "-3e-9"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.98765, "0.988"), (3370.4, "3370"), (1e-7, "1e-7"), (1.7976e308, "1.8e308")]
)
def test_three_digits_of_any_number_have_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_places_follow_from_the_axes() -> None:
    """A point half way along a linear x and a third of the decades up a logarithmic y is drawn there."""
    series = Series("", ((0.0, 1.0), (5.0, 10.0), (10.0, 1000.0)), "line", marked=False)
    (line,) = [
        one
        for one in drawn(Plot("t", "", Axis("x"), Axis("y", "log"), (series,))).iter("path")
        if one.attrib["class"] == "l s0"
    ]
    (a, b), (c, d), (e, f) = ends(line.attrib["d"])
    assert c == pytest.approx((a + e) / 2, abs=0.1)
    assert (b - d) == pytest.approx((b - f) / 3, abs=0.15)
    assert (f, e) == (TOP, WIDTH - 14)


def test_steps_hold_their_value_until_the_next() -> None:
    series = Series("", ((0.0, 0.0), (1.0, 0.5), (2.0, 1.0)), "step", marked=False)
    (line,) = [
        one
        for one in drawn(Plot("t", "", Axis("x"), Axis("y"), (series,))).iter("path")
        if one.attrib["class"] == "l s0"
    ]
    places = list(ends(line.attrib["d"]))
    assert [place for place, _ in places] == sorted(place for place, _ in places)
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(places))
    assert places[1][1] == places[0][1]  # at x = 1 the value is still the first one's, then it jumps


def test_points_are_all_drawn_and_lines_differ_without_colour() -> None:
    many = tuple((float(i), float(i)) for i in range(40))
    picture = str(render(Plot("t", "", Axis("x"), Axis("y"), (Series("a", many, "points"),))))
    assert picture.count("h0") == 41  # and one in the legend
    samples = [
        str(render(Plot("t", "", Axis("x"), Axis("y"), (Series("a", many[:2], style=style),)))) for style in range(8)
    ]
    shapes = {re.sub(r"\d", "", sample.partition('class="k')[2].partition("/>")[0]) for sample in samples}
    assert len(shapes) >= 7
    style = document(Plot("t", "", Axis("x"), Axis("y")))
    assert len(set(re.findall(r"\.l\.s\d \{ stroke-dasharray:([^;]+);", style))) == 7


def test_hostile_text_stays_text() -> None:
    """Markup, control characters and marks of direction in labels make no element and no invisible character."""
    text = '</text><script>alert(1)</script>"\x1b[31m\u202e\x00'
    plot = Plot(
        text,
        text,
        Axis(text),
        Axis(text, "rows", names=(text,)),
        (Series(text, ((1.0, 0.0),), names=(text,)),),
        (Reference(1.0, text),),
    )
    root = drawn(plot)
    assert {element.tag for element in root.iter()} == {"svg", "title", "desc", "path", "text", "g"}
    assert not set("".join(root.itertext())) & set("\x1b\u202e\x00")
    assert "<script>" in "".join(root.itertext())


def test_colours_of_a_dark_screen_are_not_printed() -> None:
    assert re.findall(r"@media ([^{]*)\{", STYLE) == ["screen and (prefers-color-scheme: dark) "]


def test_document_is_svg_by_itself() -> None:
    root = ElementTree.fromstring(document(Plot("t", "", Axis("x"), Axis("y"), (Series("a", ((1.0, 1.0),)),))))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["role"] == "img"
    assert root[0].tag.endswith("style")


def test_names_of_points_do_not_lie_on_each_other() -> None:
    names = tuple(f"kernel {i}" for i in range(6))
    series = Series("", tuple((1.0 + i / 1000, 1.0) for i in range(6)), "points", names=names)
    root = drawn(Plot("t", "", Axis("x", low=0.0, high=3.0), Axis("y"), (series,)))
    heights = [float(element.attrib["y"]) for element in root.iter("text") if (element.text or "").startswith("kernel")]
    assert len(heights) == 6
    assert all(abs(a - b) >= 10 for i, a in enumerate(heights) for b in heights[:i])


@pytest.mark.parametrize(("theme", "back"), [(0, 1.0), (1, 0.0095)], ids=["light", "dark"])
def test_colours_of_lines_differ_from_the_page(theme: int, back: float) -> None:
    """WCAG 2.2 asks graphics for a contrast of 3; `back` is the luminance of white, and of #16181c."""
    blocks = re.findall(r"\.plot \{ (--s0.*?)[;}]\s*(?:display|\})", STYLE, flags=re.DOTALL)
    colours = re.findall(r"--s\d:#([0-9a-f]{6})", blocks[theme])
    assert len(colours) == 8
    for colour in colours:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        low, high = sorted((luminance, back))
        assert (high + 0.05) / (low + 0.05) >= 3
