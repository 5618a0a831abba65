"""What the processes of the gate's benchmark have found so far, a line each, so that a run that was cut off goes on."""

import hashlib
import json
from pathlib import Path
from typing import Any

Found = list[dict[str, Any]]
#: Folders of the code that measures and decides.
MEASURES = ("plugins/lastbit/perf", "bench")


class Log:
    """Lines of one state of the code on one machine, with so many comparisons in a process."""

    def __init__(self, path: Path, state: str, repeats: int, *, resume: bool) -> None:
        """Read what is there, or begin anew; lines of another state, and one that was cut off, do not count."""
        self.path, self.state, self.repeats = path, state, repeats
        self._known: dict[tuple[str, int], Found] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            path.unlink(missing_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                one = json.loads(line)
            except ValueError:  # it was cut off
                continue
            if (one["state"], one["repeats"]) == (state, repeats):
                self._known[one["condition"], one["turn"]] = one["found"]
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def known(self, condition: str, turn: int) -> Found | None:
        """What that process found; None if it has not ended."""
        return self._known.get((condition, turn))

    def add(self, condition: str, turn: int, found: Found) -> None:
        """Append what a process found."""
        one = {"state": self.state, "repeats": self.repeats, "condition": condition, "turn": turn, "found": found}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(one) + "\n")


def state() -> str:
    """The machine, and what the code is that measures: comparisons of two states are not put together."""
    from lastbit.environment import environment

    root = Path(__file__).resolve().parents[1]
    sources = sorted(path for folder in MEASURES for path in (root / folder).glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    here = environment(("cpu",))
    return f"{here.devices['cpu']} {here.cpus} {code}"
