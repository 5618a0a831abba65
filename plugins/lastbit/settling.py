"""What a record means for its run: pass or fail, the text that a person reads, and the command that repeats it."""

import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase

from lastbit.verdict import Outcome, Record


def reproduce(record: Record, command: str) -> str:
    """The command that judges just the case of `record` again; of a hunt, the case that it shrank to."""
    check, case, seed = (
        record.notes.get(f"shrunk {what}", str(default))
        for what, default in (("check", record.check), ("case", record.case), ("seed", record.seed))
    )
    options = {
        "only": _literal(record.kernel),
        "device": record.device,
        "seed": seed,
        "tier": record.tier,
        "case": f"{check} {case} {record.formats.replace(' ', ',')}",
    }
    if command.startswith("lastbit.verify("):
        named = {**options, "seed": int(seed)}
        return f"{command}, {', '.join(f'{name}={value!r}' for name, value in named.items() if name != 'only')})"
    prefix = "" if command.startswith("lastbit ") else "lastbit-"
    return " ".join([command, *(f"--{prefix}{name} {shlex.quote(value)}" for name, value in options.items())])


def failure(record: Record) -> str:
    """What a person reads about a record that is not a pass: place and numbers, limit and why, and how to repeat it."""
    lines = [record.reason or record.outcome]
    if record.outcome is Outcome.PASS and record.golden.startswith(("new", "drifted")):
        lines = [
            f"no golden of this device and software is like this, and the run is strict: {record.golden}",
            "look, then adopt it: lastbit golden accept RUN KEY-GLOB --reason TEXT",
        ]
    if record.formula and record.formula not in record.reason:
        lines.append(f"allowed by: {record.formula}")
    lines.append(
        f"{record.outcome} in {record.check} {record.case} of {record.kernel} ({record.formats}) on {record.device}"
    )
    lines.append(f"contract: {record.contract}" + (f"; truth: {record.proof}" if record.proof else ""))
    lines.append(f"reproduce: {record.reproduce}")
    return "\n".join(lines)


def settles(record: Record, strict: bool) -> str:
    """How a run takes a record: "pass", "fail", "known" or "skip"."""
    if record.failed:
        return "fail"
    if record.known:
        return "known"
    if strict and (record.outcome is Outcome.VACUOUS or record.golden.startswith(("new", "drifted"))):
        return "fail"
    return "pass" if record.outcome is Outcome.PASS else "skip"


def exit_status(records: Iterable[Record], strict: bool = False) -> int:
    """0: every judged record conforms; 1: one does not; 2: nothing was judged."""
    records = tuple(records)
    if any(settles(record, strict) == "fail" for record in records):
        return 1
    return 0 if any(record.outcome.judged for record in records) else 2


def _literal(name: str) -> str:
    """A glob that matches only `name`."""
    return name if fnmatchcase(name, name) else "".join(f"[{c}]" if c in "*?[" else c for c in name)
