"""Differences of datasheets in words: every property of every op has its sentence."""

import re
from pathlib import Path
from typing import Any

import pytest

from lastbit.reports.datasheet import PROPERTIES
from lastbit.reports.datasheet_compare import MEANINGS, differences

PROBES = Path(__file__).resolve().parents[1] / "probes"
#: Names of answers that no sheet holds.
INSIDE = {"addend_tree"}
#: How a probe names its property where it gives an answer.
NAMED = re.compile(r'(?:"P\d+", |name = |name, told, seen = )"([a-z_]+)"')


def sheet(name: str, value: object, reason: str = "") -> dict[str, Any]:
    """A datasheet of one answer."""
    answer = {"probe": "P1", "property": name, "value": value, "evidence": "", "indeterminate": reason}
    one = {"kernel": "mine/k", "formats": {"out": "f32"}, "shape": "", "answers": [answer], "confirmed": False}
    return {"sheets": [one | {"model": None}]}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_that_differs_is_told_in_words(name):
    (found,) = differences(sheet(name, "old-value"), sheet(name, "new-value"))
    plain, _, words = found.text.partition("; ")
    assert plain == f"{PROPERTIES[name]}: old-value -> new-value"
    assert words == MEANINGS[name].format(a="old-value", b="new-value")
    assert len(words.split()) >= 5
    assert "{" not in words


@pytest.mark.parametrize("name", PROPERTIES)
def test_an_answer_that_is_missing_has_its_reason(name):
    (found,) = differences(sheet(name, 1), sheet(name, None, "out of range"))
    assert found.text == f"{PROPERTIES[name]}: 1 -> INDETERMINATE: out of range"


def test_no_sentence_is_left_over():
    assert set(MEANINGS) == set(PROPERTIES)


def test_every_property_that_a_probe_names_is_listed():
    named = {name for path in PROBES.glob("*.py") for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 40
    assert named - INSIDE <= set(PROPERTIES)
