"""The parts of a merged run: which there are, which are missing, and what the run as a whole ran on."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from typing import Any

import msgspec

from lastbit.environment import Environment
from lastbit.errors import RecordError
from lastbit.reports.run import Footer, Header, Part, Run
from lastbit.reports.run_data import Explained
from lastbit.settling import exit_status
from lastbit.verdict import Record

#: What a device of one machine is called in a merged run, by (device, slug).
Names = Mapping[tuple[str, str], str]
#: Missing shards that are named; the rest is counted.
SHOWN = 8


def machines(header: Header) -> list[str]:
    """The devices of each kind of machine of a run, as text, sorted: one for a run that was not merged."""
    environments = [part.environment for part in header.parts] or [header.environment]
    return sorted({", ".join(sorted(set(one.devices.values()))) for one in environments})


def parts(runs: Iterable[Run]) -> tuple[Part, ...]:
    """Every part once, sorted; one that did not come to its end gives way to another try of the same that has."""
    found: dict[bytes, Part] = {}
    for run in runs:
        header = run.header
        own = Part(header.environment, header.options, header.started, None if run.torn else run.footer)
        for part in map(_canonical, header.parts or (own,)):
            found[msgspec.json.encode(part)] = part
    done = {_asked(part) for part in found.values() if _is_done(part)}
    return tuple(part for _, part in sorted(found.items()) if _is_done(part) or _asked(part) not in done)


def device_names(parts: Iterable[Part]) -> Names:
    """What each (device, slug) is called: the device's own name; where several machines share it, with what of the slug
    is not the same of all: "cpu@avx2-intel_xeon-f6m85"."""
    slugs: dict[str, set[str]] = {}
    for part in parts:
        for device, slug in part.environment.devices.items():
            slugs.setdefault(device, set()).add(slug)
    return {
        (device, slug): f"{device}@{short}" if short else device
        for device, found in sorted(slugs.items())
        for slug, short in sorted(_differing(found).items())
    }


def unfinished(parts: Sequence[Part]) -> list[str]:
    """One sentence for each part that did not come to its end, or could not write all of its records."""
    said = []
    for part in parts:
        what = f"{f'shard {_shard(part)}' if _shard(part) else 'the run'} on {_slugs(part)} of {part.started}"
        if part.footer is None:
            said.append(f"{what} did not come to its end: run it again, and merge that one")
        elif part.footer.lost:
            said.append(f"{what} could not write {part.footer.lost} records: run it again, and merge that one")
    return said


def missing(parts: Sequence[Part]) -> list[str]:
    """One sentence for each set of shards, of the same options on the same devices, that lacks some."""
    groups: dict[tuple[object, ...], dict[int, set[int]]] = {}
    where: dict[tuple[object, ...], str] = {}
    for part in parts:
        options = tuple((name, value) for name, value in part.options.items() if name != "shard")
        key = options, tuple(part.environment.devices.items())
        one, of = shard(_shard(part) or "1/1")
        groups.setdefault(key, {}).setdefault(of, set()).add(one)
        where[key] = _slugs(part)
    return [
        f"{_lacking(found, of)} missing on {where[key]}: run with --lastbit-shard, and merge that, too"
        for key, shards in groups.items()
        if not any(len(found) == of for of, found in shards.items())
        for of, found in sorted(shards.items())
    ]


def shard(text: str) -> tuple[int, int]:
    """I and N of a shard's name "I/N"; raises RecordError where it is none."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise RecordError(f"merge: shard is {text[:40]!r}, expected I/N with 1 <= I <= N; the head was edited")
    return int(found[1]), int(found[2])


def options(parts: Sequence[Part], whole: bool) -> dict[str, str]:
    """The options that all parts share; the shards that are there, while some are missing."""
    shared = dict(set.intersection(*(set(part.options.items()) for part in parts)))
    shards = {shard(_shard(part)) for part in parts if _shard(part)}
    shared.pop("shard", None)
    if shards and not whole:
        shared["shard"] = " ".join(f"{one}/{of}" for one, of in sorted(shards, key=lambda pair: (pair[1], pair[0])))
    return dict(sorted(shared.items()))


def environment(parts: Sequence[Part], names: Names) -> Environment:
    """What the parts ran on; where they differ, a value is all of theirs, joined by commas."""
    every = [part.environment for part in parts]

    def together(name: str) -> dict[str, str]:
        dicts: list[dict[str, str]] = [getattr(one, name) for one in every]
        keys = {key for one in dicts for key in one}
        return {key: _joined(one.get(key, "") for one in dicts) for key in sorted(keys)}

    return Environment(
        os=_joined(one.os for one in every),
        machine=_joined(one.machine for one in every),
        cpu=_joined(one.cpu for one in every),
        python=_joined(one.python for one in every),
        packages=together("packages"),
        blas=together("blas"),
        cpus=max(one.cpus for one in every),
        threads=together("threads"),
        switches=together("switches"),
        gpus=tuple(sorted({gpu for one in every for gpu in one.gpus})),
        devices={name: slug for (_, slug), name in sorted(names.items(), key=lambda item: item[1])},
        commit=_joined(one.commit for one in every),
        dirty=any(one.dirty for one in every),
    )


def footer(parts: Sequence[Part], records: Sequence[Record]) -> Footer:
    """The end of a run whose parts all came to theirs: the worst of their statuses, and what their sessions said.

    A shard cannot tell that a known finding no longer happens, so what it says of that is left out.
    """
    footers = [(part, part.footer) for part in parts if part.footer is not None]
    statuses = {footer.exitstatus for _, footer in footers}
    now = exit_status(records)
    # A shard of which nothing was judged ends with 2; together something may have been.
    status = 1 if 1 in (now, *statuses) else now or max(statuses - {2}, default=0)
    several = len({_slugs(part) for part in parts}) > 1
    notes = [f"{_slugs(part)}: {note}" if several else note for part, footer in footers for note in footer.notes]
    gone = [sentence for part, footer in footers if not _shard(part) for sentence in footer.gone]
    ended = max(footer.ended for _, footer in footers)
    said = [footer.explained for _, footer in footers]
    explained = Explained(
        {name: text for one in said for name, text in sorted(one.meanings.items())},
        {name: text for one in said for name, text in sorted(one.findings.items())},
        tuple(dict.fromkeys(text for one in said for text in one.waivers)),
    )
    unique = (tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(gone)))
    return Footer(ended, len(records), status, 0, *unique, explained)


def _canonical(part: Part) -> Part:
    values = {item.name: getattr(part.environment, item.name) for item in fields(Environment)}
    dicts: dict[str, Any] = {name: dict(sorted(one.items())) for name, one in values.items() if isinstance(one, dict)}
    return replace(part, environment=replace(part.environment, **dicts), options=dict(sorted(part.options.items())))


def _differing(slugs: set[str]) -> dict[str, str]:
    """The words of each slug that the others do not share; "" for one alone."""
    words = {slug: slug.split("-") for slug in slugs}
    if len({len(one) for one in words.values()}) > 1:
        return {slug: slug for slug in slugs}
    kept = [number for number, column in enumerate(zip(*words.values(), strict=True)) if len(set(column)) > 1]
    return {slug: "-".join(one[number] for number in kept) for slug, one in words.items()}


def _is_done(part: Part) -> bool:
    return part.footer is not None and not part.footer.lost


def _asked(part: Part) -> tuple[tuple[tuple[str, str], ...], ...]:
    """What a part was to judge: its options, on its devices."""
    return tuple(part.options.items()), tuple(part.environment.devices.items())


def _shard(part: Part) -> str:
    return part.options.get("shard", "")


def _slugs(part: Part) -> str:
    return ", ".join(sorted(set(part.environment.devices.values()))) or "an unknown device"


def _lacking(found: set[int], of: int) -> str:
    count = of - len(found)
    named = list(islice((f"{i}/{of}" for i in range(1, of + 1) if i not in found), SHOWN))
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"shard{'' if count == 1 else 's'} {', '.join(named)}{more} {'is' if count == 1 else 'are'}"


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted({value for value in values if value}))
