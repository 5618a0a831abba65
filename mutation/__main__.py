"""Mutation testing of the judge: `python -m mutation [--sample N] [--seed S] [--jobs N] [MODULE ...]`."""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tabulate import tabulate

from mutation.mutants import Mutant, mutants
from mutation.survivors import Key, Kind, Survivor, listed
from mutation.targets import TARGETS, tests
from mutation.trial import HUNG, KILLED, ROOT, UNTESTED, outcomes_of

#: Share of the mutants that can be killed which the tests must kill, in each module.
REQUIRED = 0.95


def main(arguments: Sequence[str]) -> int:
    """Try the mutants, print a table; status 1 below REQUIRED, or where survivors.toml does not say what was found."""
    options = _options(arguments)
    texts = {module: (ROOT / module).read_text(encoding="utf-8") for module in options.modules or TARGETS}
    every = {module: mutants(module, text) for module, text in texts.items()}
    chosen = _sampled(every, options.sample, options.seed)
    known = listed()
    outcomes: dict[str, list[tuple[Mutant, str]]] = {}
    gone = _gone(every, known)
    problems = [*gone]
    begin = time.monotonic()
    # The longest first, each in a process of its own, which imports one module's tests and nothing of another's.
    order = sorted(chosen, key=lambda module: -len(chosen[module]))
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = {pool.submit(outcomes_of, module, tests(module), chosen[module]): module for module in order}
        for future in as_completed(futures):
            module = futures[future]
            if error := future.exception():
                problems.append(f"{module}: {error}")
                print(problems[-1], flush=True)
                continue
            outcomes[module] = future.result()
            problems += (strange := _unlisted(outcomes[module], known, texts[module]))
            said = f"{len(outcomes[module])} mutants, {_score(outcomes[module], known):.1%} of those that can be killed"
            # At once: a run of an hour may be cut off.
            print(f"{module}: {said}, {time.monotonic() - begin:.0f} s", *strange, "", sep="\n", flush=True)
    print(_table(outcomes, known))
    missed = [
        f"{module}: {score:.1%} of the mutants that can be killed are killed, {REQUIRED:.0%} must be"
        for module, found in outcomes.items()
        if not options.sample and (score := _score(found, known)) < REQUIRED
    ]
    print(*gone, *missed, sep="\n")
    return 1 if problems or missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("mutation", description="Plants mistakes in the judge; its own tests must notice.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="files to mutate, all targets if none is named")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="try N mutants chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    if strange := [module for module in options.modules if module not in TARGETS]:
        parser.error(f"{strange[0]!r} is no target; they are: {' '.join(TARGETS)}")
    return options


def _sampled(every: dict[str, list[Mutant]], count: int, seed: int) -> dict[str, list[Mutant]]:
    """`count` mutants of all, by module; all of them for 0."""
    if not count:
        return every
    everything = [mutant for found in every.values() for mutant in found]
    chosen = random.Random(seed).sample(everything, min(count, len(everything)))
    return {module: found for module in every if (found := [mutant for mutant in chosen if mutant.module == module])}


def _died(outcome: str) -> bool:
    return outcome in (KILLED, HUNG)


def _gone(every: dict[str, list[Mutant]], known: dict[Key, Survivor]) -> list[str]:
    """The listed survivors that no longer exist."""
    keys = {mutant.key for found in every.values() for mutant in found}
    return [
        f"listed, but there is no such mutant any more; take it off mutation/survivors.toml: {key}"
        for key in known
        if key[0] in every and key not in keys
    ]


def _unlisted(found: list[tuple[Mutant, str]], known: dict[Key, Survivor], text: str) -> list[str]:
    """Survivors that are not listed, as diffs, and listed ones that died."""
    said = []
    # Equal lines of one function share a key: such a row is stale when all of them died.
    alive = {mutant.key for mutant, outcome in found if not _died(outcome)}
    for mutant, outcome in found:
        if not _died(outcome) and mutant.key not in known:
            why = "no test runs this line" if outcome == UNTESTED else "survived"
            where = f"{mutant.module}:{mutant.lines[0]} {mutant.operator}"
            said.append(f"{where} {why}; add a test to suites/meta, or list it with its reason:\n{mutant.diff(text)}")
    tried = {mutant.key for mutant, _ in found}
    said += [
        f"listed, but killed; take it off mutation/survivors.toml: {key}" for key in known.keys() & (tried - alive)
    ]
    return said


def _cannot(found: list[tuple[Mutant, str]], known: dict[Key, Survivor]) -> int:
    """How many survivors are listed as such that no test can kill."""
    kinds = [known[m.key].kind for m, outcome in found if not _died(outcome) and m.key in known]
    return sum(kind in (Kind.EQUIVALENT, Kind.COST) for kind in kinds)


def _score(found: list[tuple[Mutant, str]], known: dict[Key, Survivor]) -> float:
    killed = sum(_died(outcome) for _, outcome in found)
    return killed / max(1, len(found) - _cannot(found, known))


def _table(outcomes: dict[str, list[tuple[Mutant, str]]], known: dict[Key, Survivor]) -> str:
    rows = [_row(module, outcomes[module], known) for module in TARGETS if module in outcomes]
    rows.append(_row("all", [pair for found in outcomes.values() for pair in found], known))
    heads = ("module", "mutants", "killed", "cannot be", "survived", "killed of all", "of those that can be")
    return tabulate(rows, heads, disable_numparse=True, colalign=("left", *["right"] * 6))


def _row(name: str, found: list[tuple[Mutant, str]], known: dict[Key, Survivor]) -> tuple[object, ...]:
    count = Counter(_died(outcome) for _, outcome in found)
    cannot = _cannot(found, known)
    share = count[True] / max(1, len(found))
    score = _score(found, known)
    return name, len(found), count[True], cannot, count[False] - cannot, f"{share:.1%}", f"{score:.1%}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main(sys.argv[1:]))
