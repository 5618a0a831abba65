"""Adopting goldens from a run: what would change (diff), writing it (accept), what is wrong in the store (doctor)."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from lastbit.errors import GoldenError
from lastbit.golden import perf_store, store
from lastbit.golden.drift import STALE_DAYS, compare
from lastbit.golden.store import Golden, key
from lastbit.verdict import Outcome, Record

if TYPE_CHECKING:
    from lastbit.reports.run import Run

#: Variables that CI systems set; a baseline adopted there would have been seen by nobody.
CI_VARIABLES = ("CI", "CONTINUOUS_INTEGRATION", "BUILD_NUMBER", "TF_BUILD", "GITHUB_ACTIONS")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What adopting one key from a run would do."""

    #: "new", "same", "changed" (within noise), "better", "worse", "stale", or "orphan" (no record in the run).
    kind: str
    path: Path
    key: str
    new: Golden | None
    old: Golden | None
    #: What moved, or why a record of the run cannot be adopted ("" if it can).
    detail: str = ""
    refused: str = ""

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.key.partition(" ")[0]

    def text(self) -> str:
        """One line for a person."""
        detail = self.refused or self.detail
        return f"{'refused' if self.refused else self.kind:8} {self.key}" + (f": {detail}" if detail else "")


def diff(run_dir: Path | str, golden_dir: Path | str) -> list[str]:
    """What `accept` of the run would do to the goldens of `golden_dir`: one line a proposal, a count last.

    Orphans of kernels that the run leaves out altogether are counted only.
    Raises RecordError or GoldenError when the run or a golden file cannot be used.
    """
    proposals = _proposals(_run(run_dir), Path(golden_dir))
    judged = {proposal.kernel for proposal in proposals if proposal.kind != "orphan"}
    shown = [
        proposal.text()
        for proposal in proposals
        if proposal.refused or (proposal.kind != "same" and proposal.kernel in judged)
    ]
    return [*shown, _summary(proposals)]


def accept(
    run_dir: Path | str,
    golden_dir: Path | str,
    glob: str,
    reason: str,
    allow_worse: bool = False,
    all_keys: bool = False,
    prune: bool = False,
) -> list[str]:
    """Write the run's records whose key matches `glob` as goldens; with `prune`, remove matching orphans too.

    All or nothing. GoldenError, and no file is touched: in CI; without a reason; when `glob` is bare ("", "*") without
    `all_keys`; when the run was made from a dirty tree or did not complete; when a selected kernel failed a check that
    is no known finding, or is inconclusive; when a record is worse than its golden without `allow_worse`; when nothing
    matches. A record that is not a pass is never adopted.
    """
    check_request(glob, reason, all_keys)
    run, folder = _run(run_dir), Path(golden_dir)
    _check_run(run)
    chosen = [proposal for proposal in _proposals(run, folder) if fnmatchcase(proposal.key, glob or "*")]
    orphans = [proposal for proposal in chosen if proposal.kind == "orphan"]
    wanted = [proposal for proposal in chosen if proposal.kind not in ("orphan", "same") or proposal.refused]
    refused = [proposal.text() for proposal in wanted if proposal.refused]
    if refused:
        raise GoldenError(
            listed(f"{len(refused)} selected records cannot be adopted", refused, "mend the kernel first")
        )
    worse = [proposal.text() for proposal in wanted if proposal.kind == "worse"]
    if worse and not allow_worse:
        raise GoldenError(listed(f"{len(worse)} records are worse than golden", worse, "if meant: --allow-worse"))
    removed = orphans if prune else []
    if not wanted and not removed:
        if not chosen:
            raise GoldenError(f"no record of the run has a key like {glob!r}; see: lastbit golden diff {run_dir}")
        return [*(f"kept     {proposal.key}: not in the run, --prune removes it" for proposal in orphans), "no change"]
    _write(wanted, removed, reason.strip())
    lines = [proposal.text() for proposal in wanted]
    lines += [f"{'removed ' if prune else 'kept    '} {proposal.key}: not in the run" for proposal in orphans]
    return [*lines, f"{len(wanted)} adopted, {len(removed)} removed in {folder}"]


def doctor(golden_dir: Path | str, run_dir: Path | str | None = None, today: date | None = None) -> list[str]:
    """What is wrong with the goldens, one line a fault; an empty list is a healthy store.

    Unusable files and records older than STALE_DAYS; with a run, also orphans (a golden without a record) and missing
    ones (a passing record without golden). Raises RecordError when the run cannot be read.
    """
    folder = Path(golden_dir)
    now = today or datetime.now(UTC).date()
    faults: list[str] = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            store.check_name(path)
            if perf_store.is_perf(path):
                from lastbit.golden.perf_adopt import doctor as examined

                faults += examined(path, now)
                continue
            records = store.load(path)
        except GoldenError as error:
            faults.append(f"unusable {error}")
            continue
        for record in records.values():
            age = (now - date.fromisoformat(record.date)).days
            if age > STALE_DAYS:
                faults.append(f"stale    {record.key}: {age} days old, in {path.name}; adopt it again")
    if run_dir is None or any(fault.startswith("unusable") for fault in faults):
        return faults
    for proposal in _proposals(_run(run_dir), folder):
        if proposal.kind == "orphan":
            faults.append(
                f"orphan   {proposal.key}: not in the run, in {proposal.path.name}; accept --prune removes it"
            )
        elif proposal.kind == "new" and not proposal.refused:
            faults.append(f"missing  {proposal.key}: the run has it, {proposal.path.name} does not; accept adopts it")
    return faults


def _run(path: Path | str) -> "Run":
    from lastbit.reports.merge_parts import machines  # the store itself needs no reports
    from lastbit.reports.run import read

    run = read(Path(path))
    if len(slugs := machines(run.header)) > 1:
        raise GoldenError(
            f"{path} is merged of {len(slugs)} kinds of machine ({'; '.join(slugs)}), expected one, for a baseline is "
            "of one device and its software; give the run of each: lastbit golden accept RUN"
        )
    return run


def check_request(glob: str, reason: str, all_keys: bool) -> None:
    """Raise GoldenError in CI, without a reason, or for a bare glob without `all_keys`."""
    found = [name for name in CI_VARIABLES if os.environ.get(name, "").lower() not in ("", "0", "false")]
    if found:
        raise GoldenError(f"{found[0]} is set: goldens are adopted by a person who looked, not in CI; run it locally")
    if not reason.strip():
        raise GoldenError("no reason given; say why these numbers are right: --reason TEXT")
    if not glob.strip("*") and not all_keys:
        raise GoldenError(f"key glob {glob!r} selects everything; give a narrower one, or --all if that is meant")


def _check_run(run: "Run") -> None:
    if run.header.environment.dirty:
        commit = run.header.environment.commit
        raise GoldenError(f"the run was made from a dirty tree on {commit}; commit, run again, then adopt")
    if not run.complete:
        raise GoldenError(
            f"the run did not come to its end ({len(run.records)} records kept); run it again, then adopt"
        )


def _proposals(run: "Run", folder: Path) -> list[Proposal]:
    """Every key of the run, and every golden of its devices and ops that has none, sorted by key."""
    by_path: dict[Path, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in run.records:
        if record.case == "*":  # a kernel that was left out whole, for a device that is not here, say
            continue
        slug = run.header.environment.devices.get(record.device)
        if slug is None:
            raise GoldenError(
                f"{record.key}: the run does not say what device {record.device!r} is; make the run with this lastbit"
            )
        by_path[store.path_of(folder, record.op, slug)][key(record)].append(record)
    bad = _bad_kernels(run.records)
    made: list[Proposal] = []
    for path, records in by_path.items():
        goldens = store.load(path) if path.exists() else {}
        for name, same in records.items():
            if (proposal := _proposal(path, name, same, goldens.get(name), run, bad)) is not None:
                made.append(proposal)
        made += [Proposal("orphan", path, name, None, old) for name, old in goldens.items() if name not in records]
    return sorted(made, key=lambda proposal: (proposal.key, proposal.path))


def _proposal(
    path: Path, name: str, records: list[Record], old: Golden | None, run: "Run", bad: Mapping[str, str]
) -> Proposal | None:
    """The proposal for one key; None when there is nothing to adopt: not judged, or not comparable."""
    records = [record for record in records if record.outcome.judged] or records
    record = records[0]
    refused = bad.get(record.kernel, "")
    if len({(item.outcome, item.stats, item.digest, item.seed) for item in records}) > 1:
        refused = f"the run has {len(records)} records of this key that differ"
    passed = record.outcome in (Outcome.PASS, Outcome.REGRESSED)
    if not passed or not store.comparable(record):
        stopped = refused if record.failed or record.outcome is Outcome.INCONCLUSIVE else ""
        return None if old is None and not stopped else Proposal("same", path, name, None, old, refused=stopped)
    environment = run.header.environment
    day = run.header.started[:10]
    new = store.golden(
        replace(record, outcome=Outcome.PASS), env=environment.software(record.kernel), by=environment.commit, day=day,
        reason="",
    )  # fmt: skip
    if old is None:
        return Proposal("new", path, name, new, None, refused=refused)
    drift = compare(record, old, date.fromisoformat(day))
    kind = {"drifted": "worse", "same": "same" if _numbers(new) == _numbers(old) else "changed"}.get(
        drift.state, drift.state
    )
    return Proposal(kind, path, name, new, old, drift.reason, refused)


def _numbers(golden: Golden) -> tuple[object, ...]:
    return (
        golden.n,
        golden.max_ulp,
        golden.p99_ulp,
        golden.rms,
        golden.bias,
        golden.utilisation,
        golden.digest,
        golden.env,
    )


def _bad_kernels(records: Iterable[Record]) -> dict[str, str]:
    """Why nothing of a kernel may be adopted, by kernel: an inconclusive check, or a failed one that is not known."""
    bad: dict[str, str] = {}
    for record in records:
        if record.timing is not None:
            continue  # speeds have baselines of their own
        if record.outcome is Outcome.INCONCLUSIVE or (record.failed and record.outcome is not Outcome.REGRESSED):
            what = f"without finding {record.known}" if record.known else record.outcome.value
            bad.setdefault(record.kernel, f"{record.kernel} is {what} in {record.check} {record.case}")
    return bad


def _write(wanted: list[Proposal], removed: list[Proposal], reason: str) -> None:
    for path in sorted({proposal.path for proposal in (*wanted, *removed)}):
        goldens = store.load(path) if path.exists() else {}
        for proposal in removed:
            if proposal.path == path:
                goldens.pop(proposal.key)
        for proposal in wanted:
            if proposal.path == path and proposal.new is not None:
                goldens[proposal.key] = replace(proposal.new, reason=reason)
        store.save(path, goldens)


def _summary(proposals: list[Proposal]) -> str:
    counts = Counter("refused" if proposal.refused else proposal.kind for proposal in proposals)
    order = ("refused", "worse", "stale", "changed", "better", "new", "orphan", "same")
    return (
        ", ".join(f"{counts[kind]} {kind}" for kind in order if counts[kind])
        or "nothing to adopt: no record has statistics"
    )


def listed(what: str, lines: list[str], remedy: str) -> str:
    """An error's text: what, the remedy, and the first ten lines."""
    shown = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
    return "\n  ".join([f"{what}, nothing was written; {remedy}:", *shown])
