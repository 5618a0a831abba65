"""Adopting speed baselines from a run of speeds, by the rules of the numeric ones: seen, with a reason, not in CI."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from lastbit.errors import GoldenError
from lastbit.golden import perf_store
from lastbit.golden.adopt import check_request, listed
from lastbit.golden.drift import STALE_DAYS
from lastbit.golden.perf_drift import State, stand
from lastbit.golden.perf_run import PerfRun, read, software
from lastbit.golden.perf_store import PerfGolden
from lastbit.golden.store import rounded
from lastbit.perf.speed import Speed
from lastbit.verdict import Outcome


@dataclass(frozen=True, slots=True)
class PerfProposal:
    """What adopting one key from a run of speeds would do."""

    #: A State; or "orphan": a baseline of a kernel of the run that the run did not measure.
    kind: str
    path: Path
    key: str
    new: PerfGolden | None = None
    detail: str = ""
    #: Why it cannot be adopted, or "".
    refused: str = ""

    def text(self) -> str:
        """One line for a person."""
        detail = self.refused or self.detail.partition("\n")[0]
        return f"{'refused' if self.refused else self.kind:8} {self.key}" + (f": {detail}" if detail else "")


def diff(run_dir: Path | str, golden_dir: Path | str) -> list[str]:
    """What `accept` would do: one line a proposal, a count last; raises RecordError or GoldenError."""
    proposals = _proposals(read(Path(run_dir)), Path(golden_dir))
    counts = Counter("refused" if one.refused else one.kind for one in proposals)
    return [*(one.text() for one in proposals), ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "no speed"]


def accept(
    run_dir: Path | str,
    golden_dir: Path | str,
    glob: str,
    reason: str,
    allow_worse: bool = False,
    all_keys: bool = False,
    prune: bool = False,
) -> list[str]:
    """Write the run's speeds whose key matches `glob` as baselines; all or nothing, as golden.adopt.accept.

    GoldenError, and no file is touched: in CI; without a reason; when `glob` is bare without `all_keys`; when the run
    is of a dirty tree; when a selected speed is inconclusive, of fewer than three processes, or of a kernel that is not
    right; when one is slower than its baseline without `allow_worse`; when nothing matches. The baseline of a speed
    within its noise stays as it was: one that followed every run would creep.
    """
    check_request(glob, reason, all_keys)
    run, folder = read(Path(run_dir)), Path(golden_dir)
    if run.header.environment.dirty:
        commit = run.header.environment.commit
        raise GoldenError(f"the run was made from a dirty tree on {commit}; commit, run again, then adopt")
    chosen = [one for one in _proposals(run, folder) if fnmatchcase(one.key, glob or "*")]
    if not chosen:
        raise GoldenError(f"no speed of the run has a key like {glob!r}; see: lastbit golden diff {run_dir}")
    refused = [one.text() for one in chosen if one.refused]
    if refused:
        raise GoldenError(listed(f"{len(refused)} selected speeds cannot be adopted", refused, "measure again"))
    worse = [one.text() for one in chosen if one.kind == State.DRIFTED]
    if worse and not allow_worse:
        raise GoldenError(listed(f"{len(worse)} speeds are worse than golden", worse, "if meant: --allow-worse"))
    wanted = [one for one in chosen if one.new is not None and one.kind != State.KEPT]
    removed = [one for one in chosen if one.kind == "orphan"] if prune else []
    for path in sorted({one.path for one in (*wanted, *removed)}):
        goldens = perf_store.load(path) if path.exists() else {}
        for one in removed:
            if one.path == path:
                del goldens[one.key]
        goldens |= {
            one.key: replace(one.new, reason=reason.strip())
            for one in wanted
            if one.path == path and one.new is not None
        }
        perf_store.save(path, goldens)
    return [*(one.text() for one in (*wanted, *removed)), f"{len(wanted)} adopted, {len(removed)} removed in {folder}"]


def doctor(path: Path, today: date | None = None) -> list[str]:
    """What is wrong with one file of speed baselines: that it cannot be used, or records that are stale."""
    now = today or datetime.now(UTC).date()
    try:
        records = perf_store.load(path)
    except GoldenError as error:
        return [f"unusable {error}"]
    ages = {one.key: (now - date.fromisoformat(one.date)).days for one in records.values()}
    return [
        f"stale    {key}: {age} days old, in {path.name}; measure and adopt it again"
        for key, age in ages.items()
        if age > STALE_DAYS
    ]


def _proposals(run: PerfRun, folder: Path) -> list[PerfProposal]:
    """Every speed of the run, and every baseline of its kernels and devices that it did not measure, by key."""
    environment, day = run.header.environment, date.fromisoformat(run.header.date)
    made: list[PerfProposal] = []
    by_path: dict[Path, list[Speed]] = {}
    for speed in run.speeds:
        slug = environment.devices.get(speed.device, "unknown")
        if "unknown" in slug.split("-"):
            raise GoldenError(
                f"{speed.key}: the run does not know what device {speed.device!r} is; no baseline is kept"
            )
        by_path.setdefault(perf_store.path_of(folder, slug), []).append(speed)
    for path, speeds in by_path.items():
        goldens = perf_store.load(path) if path.exists() else {}
        made += [_proposal(path, speed, goldens, run, day) for speed in speeds]
        kernels, keys = {speed.kernel for speed in speeds}, {speed.key for speed in speeds}
        gone = [one for one in goldens.values() if one.kernel in kernels and one.key not in keys]
        made += [PerfProposal("orphan", path, one.key, detail="not in the run") for one in gone]
    return sorted(made, key=lambda one: (one.key, one.path))


def _proposal(path: Path, speed: Speed, goldens: Mapping[str, PerfGolden], run: PerfRun, day: date) -> PerfProposal:
    env = software(run.header.environment, speed)
    found = stand(speed, goldens, env, day)
    if found.state is State.UNKNOWN:
        what = found.outcome.value if found.outcome is not Outcome.PASS else "unknown"
        return PerfProposal(found.state, path, speed.key, refused=f"{what}: {found.reason}")
    new = PerfGolden(
        speed.key, speed.yard, rounded(speed.ratio), rounded(speed.sd), len(speed.ratios), env,
        run.header.environment.commit, run.header.date, "",
    )  # fmt: skip
    return PerfProposal(found.state, path, speed.key, new, found.reason)
