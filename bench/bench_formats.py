"""How long rounding takes: float64 to e4m3fn beside ml_dtypes and gfloat, and what the judge needs of bf16."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.references.formats import Format

#: Elements rounded: 8 MiB of float64, beyond the caches.
SIZE = 1 << 20
ROUNDS = 9


def rows() -> list[dict[str, Any]]:
    """Ratios of medians, measured by turns in this process, and times in ms."""
    e4m3fn, bf16 = Format.of("e4m3fn"), Format.of("bf16")
    x = np.random.default_rng(0).standard_normal(SIZE)
    lo = x * 2.0**-54
    codes = bf16.encode(x)
    out = np.empty(SIZE)
    work: dict[str, Callable[[], Any]] = {
        "encode": lambda: e4m3fn.encode(x),
        "ml_dtypes": lambda: x.astype(ml_dtypes.float8_e4m3fn),
        "round": lambda: e4m3fn.round(x),
        "encode a pair": lambda: e4m3fn.encode(x, lo),
        "round a pair to bf16": lambda: bf16.round(x, lo),
        "decode bf16": lambda: bf16.decode(codes, out=out),
        "ulp of a pair": lambda: bf16.ulp(x, lo),
    }
    try:
        import gfloat
        from gfloat.formats import format_info_ocp_e4m3

        work["gfloat"] = lambda: gfloat.round_ndarray(format_info_ocp_e4m3, x)
    except ImportError:
        pass
    ms = _by_turns(work)
    against_ml_dtypes = ms["encode"] / ms["ml_dtypes"]
    table = [
        _row(
            "float64 to e4m3fn / ml_dtypes astype",
            against_ml_dtypes,
            "ratio of medians",
            "<= 10",
            against_ml_dtypes <= 10,
        ),
    ]
    if "gfloat" in ms:
        speedup = ms["gfloat"] / ms["round"]
        table.append(_row("gfloat round_ndarray / round to e4m3fn", speedup, "ratio of medians", ">= 5", speedup >= 5))
    else:
        unit = "not measured: gfloat is missing"
        table.append(_row("gfloat round_ndarray / round to e4m3fn", None, unit, ">= 5", None))
    return table + [_row(f"{name}, 2^20 elements", ms[name], "ms", "", None) for name in work]


def _row(name: str, value: float | None, unit: str, goal: str, ok: bool | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok}


def _by_turns(work: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median time of each function in ms, the functions taking turns so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(ROUNDS + 1):
        for name, function in work.items():
            start = perf_counter()
            function()
            if turn:  # the first warms caches and pages
                times[name].append(perf_counter() - start)
    return {name: median(seconds) * 1e3 for name, seconds in times.items()}
