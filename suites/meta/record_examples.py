"""Records, runs and environments that the tests of records, reports, goldens and policy start from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lastbit.environment import Environment
from lastbit.reports.run import Header, RunWriter
from lastbit.verdict import ErrorStats, Outcome, Record

SLUG = "cpu-x86_64-avx512bf16-amd_epyc-f26m2"
STATS = ErrorStats(
    n=4096, max_ulp=2.0, p50_ulp=0.25, p99_ulp=1.0, max_kappa=2, utilisation=0.2, rms=0.25, bias=0.05, inexact=900
)


def environment(**changed: Any) -> Environment:
    """An environment of one CPU, clean at commit abc1234."""
    given = Environment(
        os="Linux 6.1",
        machine="x86_64",
        cpu="AMD EPYC",
        python="3.11.7",
        packages={"lastbit": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
        cpus=2,
        devices={"cpu": SLUG},
        commit="abc1234",
    )
    return replace(given, **changed)


def record(**changed: Any) -> Record:
    """A passing record of mine/gemm; keywords change its fields, or those of its statistics."""
    given = Record(
        kernel="mine/gemm",
        op="gemm",
        formats="a:bf16 b:bf16 out:f32",
        device="cpu",
        check="bound",
        case="gauss/m17-n33-k65",
        outcome=Outcome.PASS,
        measured=0.2,
        allowed=1.0,
        formula="n*u32*|A||B|",
        proof="fp64 exact",
        stats=STATS,
        digest="0123456789abcdef",
        reproduce="lastbit verify mine.py --case 'bound gauss/m17-n33-k65'",
    )
    stats = {name: changed.pop(name) for name in tuple(changed) if name in ErrorStats.__slots__}
    return replace(given, **({"stats": replace(STATS, **stats)} if stats else {}), **changed)


def store_run(folder: Path, *records: Record, end: bool = True, **changed: Any) -> Path:
    """A stored run of `records`, without its last line unless `end`; keywords change its environment."""
    writer = RunWriter(folder, Header(environment(**changed), started="2026-11-25T10:00:00+00:00"))
    for one in records:
        writer.write(one)
    writer.close()
    if not end:
        lines = writer.path.read_bytes().splitlines(keepends=True)
        writer.path.write_bytes(b"".join(lines[:-1]))
    return folder
