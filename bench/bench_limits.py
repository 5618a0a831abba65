"""Whether a device's limits repeat: copy bandwidth and GEMM peaks measured three times, each in a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMES = 3
#: Relative difference of the largest and the smallest of figures that are not flagged.
GOAL = 0.05
CODE = """
import json, sys
from lastbit.perf.calibrate import measured
from lastbit.perf.threads import limited
import torch
with limited(1):
    copy, gemm = measured("cpu")
figures = {**{f"copy {size}": one for size, one in copy.items()}, **{f"gemm {fmt}": one for fmt, one in gemm.items()}}
print(json.dumps({name: (one.per_s, one.busy, one.others) for name, one in figures.items()}))
"""


def rows() -> list[dict[str, Any]]:
    """A row a figure, and how often one was flagged; about a minute."""
    runs = [_measured() for _ in range(TIMES)]
    made, flagged = [], 0
    for name in runs[0]:
        sure = [run[name][0] for run in runs if name in run and not run[name][1]]
        flagged += TIMES - len(sure)
        compared = sure if len(sure) > 1 else [run[name][0] for run in runs if name in run]
        apart = max(compared) / min(compared) - 1
        unit, ok = ("relative", apart <= GOAL) if len(sure) > 1 else ("relative, flagged", None)
        made.append({"name": f"limits: {name} repeats", "value": apart, "unit": unit, "goal": f"<= {GOAL}", "ok": ok})
    figures = TIMES * len(runs[0])
    made.append({"name": f"limits: flagged of {figures}", "value": flagged, "unit": "figures", "goal": "", "ok": None})
    others = max(others for run in runs for _, _, others in run.values())
    made.append({"name": "limits: CPUs that others had", "value": others, "unit": "share", "goal": "", "ok": None})
    return made


def _measured() -> dict[str, tuple[float, bool, float]]:
    """Figures by name, whether they are flagged, and what others had meanwhile."""
    import lastbit

    path = f"import lastbit\nlastbit.__path__[:] = {list(lastbit.__path__)!r}\n"
    folder = str(Path(lastbit.__path__[0]).parent)
    known = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": folder}
    run = subprocess.run([sys.executable, "-c", path + CODE], capture_output=True, text=True, check=True, env=known)
    found: dict[str, tuple[float, bool, float]] = json.loads(run.stdout.splitlines()[-1])
    return found
