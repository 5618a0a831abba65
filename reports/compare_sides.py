"""Which checks of two runs belong together, why one lacks a check, and what the two were made with."""

from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from lastbit.environment import Environment
from lastbit.reports import summary
from lastbit.reports.run import Header, Run
from lastbit.verdict import Record

#: What a check is known by in both runs: kernel, formats, check, case, device of run A.
Key = tuple[str, str, str, str, str]
#: Environment fields whose difference can change a kernel's bits.
_SOFTWARE = ("packages", "blas", "threads", "switches")


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is another in the two runs; "" where a run does not have it."""

    name: str
    a: str
    b: str

    def text(self) -> str:
        """ "torch: 2.12.0 -> 2.13.0"."""
        return f"{self.name}: {self.a or 'none'} -> {self.b or 'none'}"


@dataclass(frozen=True, slots=True)
class Pairing:
    """The records of two runs, put side by side."""

    both: tuple[tuple[Record, Record], ...]
    #: Records of A that B lacks, and of B that A lacks, for no reason that is known.
    vanished: tuple[Record, ...]
    appeared: tuple[Record, ...]
    #: Records of a kernel that the other run left out whole, with the record that says why: (of A, of B).
    left_out: tuple[tuple[Record, Record], ...]
    #: Why B, and why A, has no such record: one reason a record.
    not_run_b: tuple[str, ...]
    not_run_a: tuple[str, ...]
    #: Devices of A and B that are matched although they are not the same.
    devices: tuple[tuple[str, str], ...]


def paired(a: Run, b: Run) -> Pairing:
    """The checks of `a` beside those of `b`."""
    devices = _device_pairs(a, b)
    ones, others = _indexed(a, {}), _indexed(b, {theirs: ours for ours, theirs in devices.items()})
    gone, not_run_b, out_b = _lacking(ones, others, a, b, set(devices))
    new, not_run_a, out_a = _lacking(others, ones, b, a, set(devices.values()))
    slugs_a, slugs_b = a.header.environment.devices, b.header.environment.devices
    return Pairing(
        both=tuple((record, others[key]) for key, record in ones.items() if key in others),
        vanished=tuple(gone),
        appeared=tuple(new),
        left_out=(*out_b, *((star, record) for record, star in out_a)),
        not_run_b=tuple(not_run_b),
        not_run_a=tuple(not_run_a),
        devices=tuple(
            (ours, theirs)
            for ours, theirs in sorted(devices.items())
            if slugs_a.get(ours, ours) != slugs_b.get(theirs, theirs)
        ),
    )


def warnings(a: Run, b: Run) -> tuple[str, ...]:
    """What must be known of the two runs before their differences are read."""
    said = [
        f"{name} did not come to its end: what it lacks counts as not run"
        for name, run in (("A", a), ("B", b))
        if not run.complete
    ]
    for what, one, other in (
        ("tier", a.header.tier, b.header.tier),
        ("seed", str(a.header.seed), str(b.header.seed)),
        ("shard", a.header.options.get("shard", "none"), b.header.options.get("shard", "none")),
    ):
        if one != other:
            said.append(f"{what} is {one} in A, {other} in B: what only one of them has counts as not run")
    if (a.header.tier, a.header.seed) != (b.header.tier, b.header.seed):
        said.append("the data may differ, so statistics count as moved only where other data would not explain it")
    ours, theirs = a.header.environment, b.header.environment
    if ours.packages.get("lastbit") != theirs.packages.get("lastbit"):
        said.append("another lastbit judged B: what is allowed, and which checks there are, may have changed")
    if any(getattr(ours, name) != getattr(theirs, name) for name in _SOFTWARE):
        said.append("software or its settings differ: what moved may be theirs, not the kernel's")
    for name, other in _device_pairs(a, b).items():
        one, two = ours.devices.get(name, "unknown"), theirs.devices.get(other, "unknown")
        if (one, name) != (two, other) and one != two:
            said.append(
                f"{name} of A is {one}, {other} of B is {two}: drift between devices is told, and is no failure"
            )
    return tuple(said)


def differences(a: Header, b: Header) -> tuple[Difference, ...]:
    """What of environment and options is another in `b`."""
    ours, theirs = facts(a), facts(b)
    names = dict.fromkeys((*ours, *theirs))
    found = (Difference(name, ours.get(name, ""), theirs.get(name, "")) for name in names)
    return tuple(one for one in found if one.a != one.b)


def facts(header: Header) -> dict[str, str]:
    """What a run was made with, by name."""
    environment = header.environment
    found = {"tier": header.tier, "seed": str(header.seed)}
    found |= {f"option {name}": value for name, value in sorted(header.options.items())}
    for item in fields(Environment):
        value = getattr(environment, item.name)
        if item.name == "dirty":
            found["uncommitted changes"] = "yes" if value else "no"
        elif isinstance(value, dict):
            found |= {_fact(item.name, key): text for key, text in sorted(value.items())}
        else:
            found[item.name] = ", ".join(value) if isinstance(value, tuple) else str(value)
    return found


def _fact(field: str, key: str) -> str:
    return {"packages": key, "devices": f"device {key}", "blas": f"BLAS of {key}"}.get(field, key)


def _device_pairs(a: Run, b: Run) -> dict[str, str]:
    """The device of B that each device of A is compared with: the same machine's, the same name, the only one left."""
    ours, theirs = _devices(a), _devices(b)
    pairs: dict[str, str] = {}

    def match(same: "list[tuple[str, str]]") -> None:
        for one, other in same:
            if one not in pairs and other not in pairs.values():
                pairs[one] = other

    both = [(one, other) for one in ours for other in theirs]
    match([(one, two) for one, two in both if ours[one] == theirs[two] != "" and _base(one) == _base(two)])
    match([(one, two) for one, two in both if one == two])
    left = [one for one in ours if one not in pairs], [two for two in theirs if two not in pairs.values()]
    if len(left[0]) == len(left[1]) == 1:
        pairs[left[0][0]] = left[1][0]
    return pairs


def _devices(run: Run) -> dict[str, str]:
    """Slug by device, "" where it is not known, of the devices that the run has checks on."""
    names = sorted({record.device for record in run.records if record.case != "*"})
    return {name: run.header.environment.devices.get(name, "") for name in names}


def _base(device: str) -> str:
    return device.partition("@")[0]


def _indexed(run: Run, renamed: dict[str, str]) -> dict[Key, Record]:
    """The records by what they are known by; of two of the same check, the worse."""
    found: dict[Key, Record] = {}
    for record in run.records:
        device = renamed.get(record.device, record.device)
        key = record.kernel, record.formats, record.check, record.case, device
        if key not in found or _rank(record) < _rank(found[key]):
            found[key] = record
    return found


def _rank(record: Record) -> int:
    return summary.ORDER.index(record.outcome)


def _lacking(
    ones: dict[Key, Record], others: dict[Key, Record], own: Run, other: Run, devices: set[str]
) -> tuple[list[Record], list[str], list[tuple[Record, Record]]]:
    """Records that `other` lacks: without a reason, the reasons of the rest, and those of kernels that it left out."""
    stars = {record.kernel: record for key, record in others.items() if key[3] == "*"}
    there = {record.kernel for key, record in others.items() if key[3] != "*"}
    timed = any(record.timing is not None for record in others.values())
    general = _not_run(own, other)
    gone: list[Record] = []
    reasons: list[str] = []
    out: list[tuple[Record, Record]] = []
    for key, record in ones.items():
        if key in others or (record.case == "*" and record.kernel in there):
            continue
        if record.case != "*" and record.device not in devices and devices:
            reasons.append(f"{record.device} was not judged on")
        elif record.kernel in stars:
            out.append((record, stars[record.kernel]))
        elif record.timing is not None and not timed:
            reasons.append("no speed was measured")
        elif reason := general or _not_asked(record, other):
            reasons.append(reason)
        else:
            gone.append(record)
    return gone, reasons, out


def _not_run(own: Run, other: Run) -> str:
    """Why `other` may lack any record of `own`, or ""."""
    ours, theirs = own.header, other.header
    if not other.complete:
        return "the run did not come to its end"
    if ours.tier != theirs.tier:
        return f"the run's tier is {theirs.tier}"
    if ours.seed != theirs.seed:
        return f"the run's seed is {theirs.seed}"
    if theirs.options.get("shard", "") not in ("", ours.options.get("shard", "")):
        return f"the run is shard {theirs.options['shard']}"
    if theirs.options.get("case", "") not in ("", ours.options.get("case", "")):
        return "the run was asked for single cases"
    return ""


def _not_asked(record: Record, other: Run) -> str:
    """Why `other` was not asked for `record`, or ""; where its kernels come from is no reason."""
    options = other.header.options
    only, ops = options.get("only", "").split(), options.get("op", "").split()
    if only and not any(fnmatchcase(record.kernel, glob) for glob in only):
        return f"the run was asked for {options['only']} only"
    return f"the run was asked for {options['op']} only" if ops and record.op not in ops else ""
