"""What the files of a report say, as data, whatever the words around: for bundles that another lastbit wrote."""

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import msgspec

_DECIMAL = re.compile(rb"\d+\.\d+(?:e[+-]?\d+)?")
#: Files whose every number is of a record; the others have those of their drawings, too.
_WRITTEN = ("report.md", "ctrf.json", "junit.xml")
#: The numbers of index.html, which it holds for machines.
_SUMMARY = re.compile(r'<script type="application/json" id="summary">(.*?)</script>', re.DOTALL)


def facts(name: str, content: bytes) -> Any:
    """Verdict, counts and numbers of a report's file: what it says of the run, whatever version wrote it.

    A file that cannot be read gives that in words, and one of an unknown name its bytes.
    """
    read = _READERS.get(name)
    if read is None:
        return content
    try:
        return read(content.decode())
    except (ValueError, LookupError, TypeError, AttributeError, ElementTree.ParseError, RecursionError) as error:
        return f"{name} cannot be read: {type(error).__name__} {error}"


def strange(name: str, content: bytes, known: bytes) -> str:
    """A number with decimals of a report's file, in or out of its tables, that `known` does not hold, or ""; files that
    are drawings have none."""
    if name not in _WRITTEN:
        return ""
    held = set(_DECIMAL.findall(known))
    return next((number.decode() for number in _DECIMAL.findall(content) if number not in held), "")


def _page(text: str) -> Any:
    found = _SUMMARY.findall(text)
    if len(found) != 1:
        raise ValueError(f"{len(found)} summaries, expected one")
    return msgspec.json.decode(found[0])


def _markdown(text: str) -> Any:
    """The verdict and every row of a table."""
    lines = text.splitlines()
    verdict = next((line for line in lines if line.startswith("**")), "")
    return verdict, [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")]


def _ctrf(text: str) -> Any:
    results = msgspec.json.decode(text)["results"]
    tests = [(test["name"], test["status"], test.get("rawStatus")) for test in results["tests"]]
    return {name: results["summary"][name] for name in ("tests", "passed", "failed", "skipped", "other")}, tests


def _junit(text: str) -> Any:
    suites = _xml(text).iter("testsuite")
    counts = [[suite.get(name) for name in ("tests", "failures", "errors", "skipped")] for suite in suites]
    cases = [[case.get("classname"), case.get("name"), *_results(case)] for case in _xml(text).iter("testcase")]
    return counts, cases


def _results(case: ElementTree.Element) -> list[Any]:
    numbers = ("lastbit.measured", "lastbit.allowed", "lastbit.max_ulp", "lastbit.utilisation", "lastbit.outcome")
    told = {item.get("name"): item.get("value") for item in case.iter("property")}
    return [[child.tag for child in case if child.tag != "properties"], [told.get(name) for name in numbers]]


def _badge(text: str) -> Any:
    return [part.strip() for part in _xml(text).itertext() if part.strip()]


def _xml(text: str) -> ElementTree.Element:
    if "<!" in text.replace("<![CDATA[", ""):  # entities of a stranger's document may name files, and grow without end
        raise ValueError("a document type is declared")
    return ElementTree.fromstring(text)


_READERS: dict[str, Callable[[str], Any]] = {
    "index.html": _page,
    "report.md": _markdown,
    "ctrf.json": _ctrf,
    "junit.xml": _junit,
    "badge.svg": _badge,
}
