"""Runs every benchmark of this folder, prints one table and writes reports/out/bench.json: `python -m bench`."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "reports" / "out" / "bench.json"


def main(names: list[str]) -> int:
    """Run the named benchmarks, all if none is named; status 1 if one could not run, whatever the numbers are."""
    if importlib.util.find_spec("lastbit") is None:
        sys.path.insert(0, str(ROOT / "plugins"))
        import lastbit

        lastbit.__path__.append(str(ROOT))
    from tabulate import tabulate

    found: list[dict[str, Any]] = []
    broken = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if names and path.stem.removeprefix("bench_") not in names:
            continue
        print(f"{path.stem} …", file=sys.stderr, flush=True)
        try:
            found += importlib.import_module(f"bench.{path.stem}").rows()
        except Exception as error:
            broken += 1
            found.append({"name": path.stem, "value": None, "unit": f"failed: {error!r}", "goal": "", "ok": False})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    words = {True: "ok", False: "MISSED", None: ""}
    table = [(row["name"], row["value"], row["unit"], row["goal"], words[row["ok"]]) for row in found]
    print(tabulate(table, ("benchmark", "value", "unit", "goal", ""), floatfmt=".4g"))
    print(f"written to {OUT.relative_to(ROOT)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
