"""How long reports take: 20,000 records written, read back, and made into the whole folder, on one core."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from lastbit.environment import environment
from lastbit.histogram import histogram
from lastbit.reports import folder
from lastbit.reports.run import Header, RunWriter, read
from lastbit.verdict import ErrorStats, Outcome, Record

RECORDS, KERNELS = 20_000, 40
FORMATS = (
    "f64",
    "f32",
    "tf32",
    "f16",
    "bf16",
    "e4m3fn",
    "e5m2",
    "e4m3fnuz",
    "e5m2fnuz",
    "i8",
    "i4",
    "mxfp8",
    "mxfp4",
    "nvfp4",
)
OPS = ("gemm", "softmax", "attention", "quantize", "cast")
CHECKS = ("bound", "exact", "special", "statistics", "repeat", "slices", "large", "hunt", "layout", "epilogue")
#: One of so many records is of this outcome; the others pass.
OFTEN = {29: Outcome.OVER_BUDGET, 31: Outcome.NOT_TESTED, 97: Outcome.UNSUPPORTED, 211: Outcome.WRONG_CLASS}
#: Seconds for the whole folder, and the page's megabytes.
GOAL, LARGEST = 10.0, 1.0


def rows() -> list[dict[str, Any]]:
    """Seconds of the processor for writing and reading run.jsonl and for the folder, and the sizes of its files."""
    made = records()
    with TemporaryDirectory() as into:
        start = process_time()
        writer = RunWriter(into, Header(environment()))
        for record in made:
            writer.write(record)
        writer.close()
        written = process_time()
        run = read(into)
        back = process_time()
        folder.write(run, Path(into))
        end = process_time()
        sizes = {path.name: path.stat().st_size for path in sorted(Path(into).iterdir())}
    if run.records != tuple(made):
        raise RuntimeError("the records read back are not those written; the timing means nothing")
    total = end - written
    times = {"write run.jsonl": written - start, "read run.jsonl": back - written, "the folder": end - back}
    return [
        _row("to the full folder", total, "s of one core", GOAL),
        *(_row(name, took, "s") for name, took in times.items()),
        *(_row(name, size / 1e6, "MB", LARGEST if name == folder.PAGE else None) for name, size in sizes.items()),
    ]


def _row(name: str, value: float, unit: str, goal: float | None = None) -> dict[str, Any]:
    below, ok = ("", None) if goal is None else (f"< {goal:g}", value < goal)
    return {"name": f"{RECORDS} records: {name}", "value": value, "unit": unit, "goal": below, "ok": ok}


def records() -> list[Record]:
    """Records like those of a full run of 40 kernels in 14 formats."""
    rng = np.random.default_rng(0)
    return [_record(number, rng) for number in range(RECORDS)]


def _record(number: int, rng: np.random.Generator) -> Record:
    kernel, rest = number % KERNELS, number // KERNELS
    fmt, check = FORMATS[rest % len(FORMATS)], CHECKS[rest // len(FORMATS) % len(CHECKS)]
    op, case = OPS[kernel % len(OPS)], f"normal/m{17 + rest % 5}-n33-k{16 << rest % 9}"
    outcome = next((outcome for every, outcome in OFTEN.items() if number % every == every - 1), Outcome.PASS)
    errors = rng.standard_normal(400) * 0.3
    used = float(rng.uniform(1.1, 90) if outcome.failed else rng.uniform(0.05, 0.9))
    formats = f"a:{fmt} b:{fmt} out:{fmt}"
    return Record(
        kernel=f"vendor/{op}-{kernel}",
        op=op,
        formats=formats,
        device="cpu",
        check=check,
        case=case,
        outcome=outcome,
        reason=""
        if outcome is Outcome.PASS
        else f"max error {used:.4g} ulp at (3, 7): got 0.0390625, want 0.0345\nbudget",
        measured=used,
        allowed=1.0,
        where="(3, 7)" if outcome.failed else "",
        formula="65 terms in f32: 3.9e-06*|A||B| + half an ulp at |s|+error [budgets.md 2; Jeannerod and Rump 2013]",
        proof="fp64 bound",
        contract="accumulates in f32, rounds nearest-even, deterministic",
        stats=ErrorStats(400, float(abs(errors).max()), 0.2, 0.7, 1, 0.01, used, 0.3, 0.02, 31),
        digest="0123456789abcdef",
        notes={"batch invariance": "not promised; bits change for first 4 of 33 rows alone"} if number % 9 == 0 else {},
        seconds=0.0123,
        reproduce=f"lastbit verify kernels.py --only vendor/{op}-{kernel} --case '{check} {case} {formats}'",
        golden=("", "same", "new")[number % 3],
        histogram=histogram(errors),
        terms=16 << rest % 9,
        allowed_ulp=2.5,
        got="0.0390625 (0x3d20)" if outcome.failed else "",
        want="0.0345 (nearest 0x3d0d)" if outcome.failed else "",
    )
