"""What the merge gate catches and what it cries about, on this machine as it is: `python -m bench.gate`."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

from bench.gate_log import Log, state

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "reports" / "out" / "bench-gate.json"
#: A line for each process that has ended, with every sample: what a run that was cut off goes on from.
DONE = OUT.with_suffix(".jsonl")
#: Fresh processes, and comparisons of each kernel and slowdown in each: 150 comparisons of three kernels.
ROUNDS, REPEATS = 10, 5
#: Seconds that one process may take.
ROUND_S = 1800
CONDITIONS = ("as it is", "loaded")


def main(arguments: list[str] | None = None) -> int:
    """Run every condition, print one table and write bench-gate.json; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"fresh processes a condition ({ROUNDS})")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"comparisons of each in one process ({REPEATS})")
    parser.add_argument("--condition", choices=CONDITIONS, action="append", help="only this one")
    parser.add_argument(
        "--resume", action="store_true", help=f"go on from {DONE.name}, as the same code left it on this machine"
    )
    parser.add_argument("--keep", metavar="FILE", help="every comparison, without its samples, to FILE")
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if importlib.util.find_spec("lastbit") is None:
        sys.path.insert(0, str(ROOT / "plugins"))
        import lastbit

        lastbit.__path__.append(str(ROOT))
    if parsed.round is not None:
        print(json.dumps(_round(parsed.round, parsed.repeats)))
        return 0
    from bench.gate_rows import rows

    found: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    log = Log(DONE, state(), parsed.repeats, resume=parsed.resume)
    for condition in parsed.condition or CONDITIONS:
        rounds = _rounds(condition, parsed.rounds, log)
        found += rows(condition, rounds)
        kept += [{"condition": condition, **one, "base": None, "head": None} for every in rounds for one in every]
    if parsed.keep:
        Path(parsed.keep).write_text("".join(json.dumps(one) + "\n" for one in kept), encoding="utf-8")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    from tabulate import tabulate

    words = {True: "ok", False: "MISSED", None: ""}
    table = [(row["name"], row["value"], row["unit"], row["goal"], words[row["ok"]]) for row in found]
    print(tabulate(table, ("benchmark", "value", "unit", "goal", ""), floatfmt=".4g"))
    print(f"written to {OUT.relative_to(ROOT)}")
    return 1 if any(row["ok"] is False for row in found) else 0


def _rounds(condition: str, rounds: int, log: Log) -> list[list[dict[str, Any]]]:
    """What each fresh process found, those of the log among them."""
    from bench.gate_load import load

    found = []
    for turn in range(rounds):
        made = log.known(condition, turn)
        if made is None:
            words = [sys.executable, "-m", "bench.gate", "--round", str(turn), "--repeats", str(log.repeats)]
            with load() if condition == "loaded" else nullcontext():
                run = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=ROUND_S, check=True)
            made = json.loads(run.stdout.splitlines()[-1])
            log.add(condition, turn, made)
        found.append(made)
        print(f"{condition}: process {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def _round(turn: int, repeats: int) -> list[dict[str, Any]]:
    """Every comparison of one process, in random order."""
    from lastbit.perf import threads

    threads.announce(1)
    from bench.gate_kernels import AGAIN, CASES

    random = Random(turn)
    wanted = [(name, again) for name in CASES for again in AGAIN for _ in range(repeats)]
    random.shuffle(wanted)
    return [_comparison(name, again, random.randrange(2**16)) for name, again in wanted]


def _comparison(name: str, again: int, seed: int) -> dict[str, Any]:
    import time

    from bench.gate_kernels import CASES, kernel
    from lastbit.perf.compare import Terms, walk

    samples: tuple[list[int], list[int]] = ([], [])

    def watch(one: Any, other: Any) -> None:
        samples[0].append(one.ns_per_call)
        samples[1].append(other.ns_per_call)

    start = time.perf_counter()
    found = next(iter(walk(kernel(name, 0), kernel(name, again), (CASES[name],), Terms(seed=seed), watch=watch)))
    return {
        "kernel": found.kernel,
        "again": again,
        "outcome": found.outcome.value,
        "reason": found.reason,
        "ratio": found.ratio,
        "seconds": found.seconds,
        "with_confirmation": round(time.perf_counter() - start, 3),
        "clean": found.clean,
        "taken": found.taken,
        "confirmed": len(found.confirmed),
        "base": samples[0],
        "head": samples[1],
        "load": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
