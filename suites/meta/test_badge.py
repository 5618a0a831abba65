"""badge.svg: a word that the run bears out, in an accessible picture that no kernel writes into."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings

from lastbit.reports import badge
from lastbit.reports.run_data import Run
from lastbit.verdict import Outcome

from .hostile_runs import BARBS, ENDED, RAW, barbed, run_of, runs
from .record_examples import record

SVG = "{http://www.w3.org/2000/svg}"
BAD = record(case="bad", outcome=Outcome.OVER_BUDGET, reason="too far")
KNOWN = replace(BAD, case="known", known="F1")


def words(run: Run) -> str:
    """What the badge says, three times alike: label, title, and the texts that are seen."""
    text = badge.text(run)
    assert not RAW.search(text)
    picture = ET.fromstring(text)
    said = picture.get("aria-label")
    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title") == said
    assert ": ".join(part.text or "" for part in picture.iter(f"{SVG}text")) == said
    assert "script" not in text
    return str(said).removeprefix("lastbit: ")


@pytest.mark.parametrize(
    ("run", "said", "colour"),
    [
        (run_of(record()), "conforms: 1 check passed", badge.GREEN),
        (run_of(record(), record(case="b"), KNOWN), "conforms: 2 checks passed, 1 known failure", badge.GREEN),
        (run_of(record(), BAD), "does not conform: 1 of 2 checks failed", badge.RED),
        (run_of(record(), BAD, KNOWN), "does not conform: 1 of 3 checks failed, 1 known failure", badge.RED),
        (run_of(record(known="F8")), "does not conform: 1 of 1 check failed", badge.RED),
        (run_of(), "nothing judged: 0 checks", badge.GREY),
        (run_of(record(outcome=Outcome.VACUOUS)), "nothing judged: 1 check", badge.GREY),
        (run_of(record(), footer=None), "incomplete: 1 check passed", badge.GREY),
        (run_of(record(), footer=replace(ENDED, exitstatus=1)), "needs a look: 1 check passed", badge.GREY),
        (
            run_of(record(), record(outcome=Outcome.VACUOUS), strict=True),
            "does not conform: 1 of 1 check failed",
            badge.RED,
        ),
    ],
)
def test_word_and_colour_are_what_the_run_bears_out(run: Run, said: str, colour: str) -> None:
    assert words(run) == said
    assert f'fill="{colour}"' in badge.text(run)


@given(runs)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_green_is_for_a_whole_run_that_conforms_and_for_nothing_else(run: Run) -> None:
    words(run)
    whole = run.complete and run.footer is not None and not run.footer.exitstatus and not run.footer.lost
    if not whole or any(one.failed for one in run.records):
        assert badge.GREEN not in badge.text(run)


def test_nothing_that_a_kernel_wrote_is_in_it() -> None:
    plain = badge.text(run_of(record(), BAD))
    assert all(badge.text(run_of(barbed(record(), barb), barbed(BAD, barb))) == plain for barb in BARBS)


def contrast(colour: str) -> float:
    """Of white text on a colour, by WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


@pytest.mark.parametrize("colour", [badge.GREEN, badge.RED, badge.GREY, "#444444"])
def test_text_can_be_read_on_it(colour: str) -> None:
    assert contrast(colour) >= 4.5
