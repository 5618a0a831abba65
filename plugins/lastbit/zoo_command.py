"""`lastbit zoo`: score this suite, and others' ways of comparing, on the zoo."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.case import TIERS
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.suites.zoo.outcome import ZooRun
    from lastbit.suites.zoo.rival import Rival
    from lastbit.suites.zoo.specimen import Faulty, Variant

#: Seeds where --seeds says nothing: of every kernel, and of the core of the correct variants.
SEEDS = {"smoke": 1, "standard": 10, "full": 10}
CORE_SEEDS = {"smoke": 2, "standard": 20, "full": 20}

#: Exit status of a command that SIGINT ended.
STOPPED = 130


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    zoo = commands.add_parser("zoo", help="what this suite, and others' rules, catch of known faults")
    zoo.add_argument(
        "names", metavar="GLOB", nargs="*", help="only kernels of these names or fault classes: gemm-*, F042"
    )
    zoo.add_argument("--tier", choices=TIERS, default="smoke", help="how much of the law is walked (smoke)")
    zoo.add_argument(
        "--seeds", type=_count, metavar="N", help="seeds 0 to N-1 (smoke: 1, else 10; half the right ones: 2, 20)"
    )
    zoo.add_argument("--jobs", type=_count, metavar="N", default=os.cpu_count() or 1, help="worker processes")
    zoo.add_argument(
        "--judge", metavar="MODULE:FUNCTION", action="append", default=[], help="score your comparison, too"
    )
    zoo.add_argument("--no-rivals", action="store_true", help="this suite, and --judge, alone")
    zoo.add_argument("--explain", metavar="CLASS", help="the story of one fault class: F042")
    zoo.add_argument("--json", metavar="FILE", help="write the score to FILE, or to standard output for -")
    zoo.add_argument("--markdown", metavar="FILE", help="write the score to FILE in Markdown")
    zoo.add_argument("--html", metavar="FILE", help="write the score to FILE as a page of its own")
    zoo.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; 0 where every faulty kernel is caught under every seed and no right one is flagged, else 1.

    130 where the user stops it; the score is then of what was judged until then.

    Raises UsageError where a name matches nothing, or a judge cannot be used.
    """
    if parsed.explain:
        return _explain(parsed)
    from lastbit.reports import zoo as reports
    from lastbit.reports.zoo_page import page
    from lastbit.suites.zoo.outcome import as_json

    score = as_json(_scored(parsed))
    print(reports.text(score), file=sys.stderr if parsed.json == "-" else sys.stdout)
    if parsed.json:
        _write(parsed.json, json.dumps(score, indent=1) + "\n")
    if parsed.markdown:
        _write(parsed.markdown, reports.markdown(score))
    if parsed.html:
        _write(parsed.html, page(score))
    if not score["complete"]:
        return STOPPED
    return 1 if score["escaped"] or score["false_alarms"] else 0


def _scored(parsed: argparse.Namespace) -> "ZooRun":
    from lastbit.suites.zoo.collection import classes, core
    from lastbit.suites.zoo.outcome import OURS, Judged, ZooRun
    from lastbit.suites.zoo.rival_score import judged
    from lastbit.suites.zoo.score import StoppedError, score

    faulty, variants = _chosen(parsed.names)
    rivals = _rivals(parsed)
    seeds = range(parsed.seeds or SEEDS[parsed.tier])
    more = range(len(seeds), parsed.seeds or CORE_SEEDS[parsed.tier])
    start, sightings, others, complete = time.perf_counter(), [], [], True
    try:
        for what, specimens, under in (
            ("faulty kernels", faulty, seeds),
            ("right kernels", variants, seeds),
            ("half of them, more seeds", core(variants), more),
        ):
            sightings += score(specimens, parsed.tier, under, workers=parsed.jobs, progress=_progress(what))
    except StoppedError as stopped:
        sightings, complete = sightings + stopped.found, False
    ours = Judged(OURS, tuple(sightings), time.perf_counter() - start)
    if complete:
        told = _progress("rivals")
        try:
            others = judged(rivals, faulty, variants, (seeds, seeds), workers=parsed.jobs, progress=told)
        except StoppedError as stopped:
            others, complete = stopped.found, False
    judges = (ours, *others)
    return ZooRun(classes(), faulty, variants, judges, parsed.tier, tuple(seeds), tuple(more), complete)


def _chosen(names: Sequence[str]) -> "tuple[tuple[Faulty, ...], tuple[Variant, ...]]":
    """The kernels that the globs name; a fault class names its faulty kernels."""
    from lastbit.suites.zoo.collection import faulty, variants

    if not names:
        return faulty(), variants()
    wrong = tuple(one for one in faulty() if any(_matches(name, one.name, one.fault) for name in names))
    right = tuple(one for one in variants() if any(_matches(name, one.name, "") for name in names))
    if not wrong and not right:
        raise UsageError(f"zoo: no kernel or fault class matches {' '.join(names)}; F009 and gemm-* are such names")
    return wrong, right


def _matches(glob: str, name: str, fault: str) -> bool:
    return fnmatchcase(name, glob) or fnmatchcase(fault, glob.upper())


def _rivals(parsed: argparse.Namespace) -> "list[Rival]":
    from lastbit.suites.zoo.own_judge import load
    from lastbit.suites.zoo.rivals import RIVALS

    return [*([] if parsed.no_rivals else RIVALS), *(load(text) for text in parsed.judge)]


def _explain(parsed: argparse.Namespace) -> int:
    from lastbit.reports.zoo_story import text
    from lastbit.suites.zoo.collection import fault_class
    from lastbit.suites.zoo.story import story

    told = _progress("kernels")
    start = time.perf_counter()
    found = story(
        fault_class(parsed.explain),
        parsed.tier,
        0,
        progress=lambda done, total: told(done, total, time.perf_counter() - start),
    )
    print(text(found))
    return 0


def _progress(what: str) -> Callable[[int, int, float], None]:
    """One line that is written over, for people; where standard error is a file, a line at the end."""

    def told(done: int, total: int, seconds: float) -> None:
        text = f"{what}: {done} of {total} jobs, {seconds:.0f} s"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done == total:
            print(text, file=sys.stderr, flush=True)

    return told


def _write(target: str, text: str) -> None:
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)
