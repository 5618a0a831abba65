"""What the zoo's score says: power by class, false alarms, the JSON keys, and what people read."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lastbit.reports import zoo as reports
from lastbit.reports.zoo_page import page
from lastbit.suites.zoo.collection import classes, faulty, specimen
from lastbit.suites.zoo.outcome import Judged, ZooRun, as_json, by_op
from lastbit.suites.zoo.power import powers
from lastbit.suites.zoo.score import Sighting
from lastbit.suites.zoo.specimen import Faulty, Variant, room

KEYS = {"classes", "caught", "correct", "false_alarms", "faults", "rivals"}
FAULTY = tuple(
    one
    for one in map(specimen, ("gemm-zeros-f32", "gemm-constant-f32", "gemm-tf32_cut-f32", "softmax-uniform-f32"))
    if isinstance(one, Faulty)
)
VARIANTS = tuple(one for one in (specimen("gemm-in_f64-f32"),) if isinstance(one, Variant))


def caught(name: str, seed: int = 0) -> Sighting:
    return Sighting(name, seed, "exact", "integers/m2-n3-k4", "wrong | value", 1)


def missed(name: str, seed: int = 0) -> Sighting:
    return Sighting(name, seed, judged=9)


SOME = caught("gemm-zeros-f32"), missed("gemm-constant-f32"), caught("gemm-tf32_cut-f32")


def run(*ours: Sighting, rival: tuple[Sighting, ...] = ()) -> ZooRun:
    others = (Judged("their rule", rival, 2.0, "N(0, 1)", "a/b:c.py"),) if rival else ()
    return ZooRun(classes(), FAULTY, VARIANTS, (Judged("lastbit", ours, 1.25), *others), "smoke", (0,), (0, 1))


def test_power_is_always_only_where_every_kernel_is_caught_under_every_seed() -> None:
    seen = [
        caught("gemm-zeros-f32"),
        missed("gemm-constant-f32"),
        caught("gemm-tf32_cut-f32"),
        missed("gemm-in_f64-f32"),
    ]
    found = {power.fault: power for power in powers(classes(), FAULTY, seen)}
    assert found["F093"].answer == "sometimes"
    assert (found["F093"].tried, found["F093"].caught, found["F093"].kernels, found["F093"].always) == (2, 1, 2, 1)
    assert (found["F012"].answer, found["F012"].check) == ("always", "exact")
    assert found["F039"].answer == "no kernel"
    later = powers(classes(), FAULTY, [caught("gemm-tf32_cut-f32", 0), missed("gemm-tf32_cut-f32", 1)])
    assert {power.fault: power.answer for power in later}["F012"] == "sometimes"
    assert {power.fault: power.answer for power in powers(classes(), FAULTY, [missed("gemm-tf32_cut-f32")])}[
        "F012"
    ] == "never"


def test_check_that_is_named_is_the_one_that_was_first_most_often() -> None:
    seen = [Sighting("gemm-zeros-f32", seed, check) for seed, check in enumerate(("tails", "bound", "tails"))]
    assert {power.fault: power.check for power in powers(classes(), FAULTY, seen)}["F093"] == "tails"


def test_json_has_its_keys_and_counts_classes_that_have_a_kernel() -> None:
    one = run(
        caught("gemm-zeros-f32"), missed("gemm-constant-f32"), caught("gemm-tf32_cut-f32"), missed("gemm-in_f64-f32")
    )
    score = json.loads(json.dumps(as_json(one)))
    assert score.keys() >= KEYS
    assert (score["classes"], score["caught"], score["correct"], score["false_alarms"]) == (2, 1, 1, 0)
    assert [row["specimen"] for row in score["escaped"]] == ["gemm-constant-f32"]
    assert score["rivals"] == {}


def test_variant_that_is_flagged_under_two_seeds_is_one_false_alarm_and_listed_twice() -> None:
    score = as_json(run(caught("gemm-zeros-f32"), caught("gemm-in_f64-f32", 0), caught("gemm-in_f64-f32", 1)))
    assert score["false_alarms"] == 1
    assert [row["seed"] for row in score["flagged"]] == [0, 1]


def test_ops_count_kernels_caught_under_every_seed() -> None:
    one = run(
        caught("gemm-zeros-f32"),
        caught("gemm-zeros-f32", 1),
        caught("gemm-constant-f32"),
        missed("gemm-constant-f32", 1),
    )
    assert by_op(one, one.judges[0]) == {"gemm": (1, 2)}


@pytest.mark.parametrize("write", [reports.text, reports.markdown])
def test_report_names_the_score_the_rivals_the_escaped_and_the_flagged(write: Callable[..., str]) -> None:
    rival = (missed("gemm-zeros-f32"), caught("gemm-in_f64-f32"))
    told = write(
        as_json(run(caught("gemm-zeros-f32"), missed("gemm-constant-f32"), caught("gemm-in_f64-f32"), rival=rival))
    )
    assert "caught 0 of 1 fault classes always and flagged 1 of 1 correct variants; tier smoke, 1 seed" in told
    row = next(line for line in told.splitlines() if "F093" in line)
    assert "1/2" in row
    assert "NO" in row
    assert "F012" not in told, "a class without a kernel in the run has no row"
    assert "gemm-constant-f32 under seed 0 passed 9 trials" in told
    assert "gemm-in_f64-f32 under seed 0 by exact integers/m2-n3-k4: wrong | value" in told
    assert "1 of 1" in next(line for line in told.splitlines() if "their rule" in line and "N(0, 1)" in line)


def test_markdown_is_a_table_for_github() -> None:
    told = reports.markdown(as_json(run(caught("gemm-zeros-f32"))))
    assert told.startswith("# lastbit zoo\n")
    assert "|---" in told


def test_long_lists_are_cut_and_counted() -> None:
    many = [missed("gemm-zeros-f32", seed) for seed in range(reports.SHOWN + 3)]
    told = reports.text(as_json(run(*many)))
    assert "and 3 more" in told


HOSTILE = '<script>alert("x")</script>&\''


class Reader(HTMLParser):
    """The tags that are open, the cells of each row, and whatever the page would load."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            assert dict(attrs).get("scope") if tag == "th" else True
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] == "p" != tag:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_page_is_one_whole_file_that_escapes_what_it_is_told() -> None:
    rival = (missed("gemm-zeros-f32"), caught("gemm-in_f64-f32"))
    flagged = Sighting("gemm-in_f64-f32", 0, HOSTILE, HOSTILE, HOSTILE, 1)
    one = run(caught("gemm-zeros-f32"), missed("gemm-constant-f32"), flagged, rival=rival)
    one = replace(one, judges=(one.judges[0], replace(one.judges[1], judge=HOSTILE, data=HOSTILE, source=HOSTILE)))
    told = page(as_json(one))
    reader = Reader()
    reader.feed(told)
    reader.close()
    assert reader.open == []
    assert [link for link in reader.loads if not link.startswith("#")] == []
    assert "script" not in reader.seen
    assert "url(" not in told
    assert "@import" not in told
    assert HOSTILE not in told
    row = next(row for row in reader.rows if row[0] == "F093")
    assert row[:4] == ["F093", "1 of 2", "\u25d0 1 of 2", "exact"]
    assert row[4] == "\u25cb never"
    assert reader.seen.count("caption") == reader.seen.count("table") == 5
    tables = [len(cells) for cells in reader.rows]
    assert min(tables) >= 2


def test_answers_that_a_rival_has_no_rule_for_count_neither_way() -> None:
    score = as_json(run(caught("gemm-zeros-f32"), caught("softmax-uniform-f32"), rival=(caught("gemm-zeros-f32"),)))
    rival = score["rivals"]["their rule"]
    assert rival["ops"] == {"gemm": [1, 1]}
    assert (rival["caught"], rival["classes"]) == (1, 1)
    assert rival["counts"] == {"F093": [1, 1]}
    assert "\u2013" in page(score)


def test_rival_that_catches_some_says_how_many() -> None:
    rival = (caught("gemm-zeros-f32"), missed("gemm-constant-f32"), missed("gemm-zeros-f32", 1))
    score = as_json(run(caught("gemm-zeros-f32"), rival=rival))
    assert score["rivals"]["their rule"]["counts"]["F093"] == [1, 3]
    for told in (reports.text(score), reports.markdown(score)):
        assert "1/3" in next(line for line in told.splitlines() if "F093" in line)
    assert "\u25d0 1 of 3" in page(score)


def test_attention_is_counted_by_its_rooms() -> None:
    rooms = {room(one.build()) for one in faulty()}
    assert rooms > {"attention", "attention gradients", "packed attention", "paged_attention"}


def test_score_that_was_stopped_says_so_everywhere() -> None:
    score = as_json(replace(run(caught("gemm-zeros-f32")), complete=False))
    assert score["complete"] is False
    for write in (reports.text, reports.markdown, page):
        assert "stopped by the user" in write(score)
