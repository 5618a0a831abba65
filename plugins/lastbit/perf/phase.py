"""The speed phase of a run: kernels that the same run found right are timed, and each timing leaves a record."""

import shlex
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lastbit.case import Check, Trial
from lastbit.kernel import Kernel, formats_text
from lastbit.perf.comparison import Comparison
from lastbit.perf.sides import TREE, Side
from lastbit.session import blank
from lastbit.verdict import Outcome, Record, Timing

if TYPE_CHECKING:
    from pathlib import Path

    from lastbit.environment import Environment
    from lastbit.golden.perf_drift import Standing
    from lastbit.golden.perf_store import PerfGolden
    from lastbit.perf.compare import Terms
    from lastbit.perf.limits import Limits
    from lastbit.perf.reach import Reach
    from lastbit.perf.speed import Speed

#: The check that every record of speed is of.
CHECK = "speed"


@dataclass(frozen=True, slots=True)
class Timed:
    """One kernel, in one set of formats, on one case, that is to be timed."""

    head: Side
    check: Check
    trial: Trial
    terms: "Terms"
    #: What it is timed beside; None: its golden yardstick.
    base: Side | None = None

    @property
    def case(self) -> str:
        """The case as commands name it: "CHECK CASE FORMATS"."""
        formats = formats_text(self.trial.formats).replace(" ", ",")
        return f"{self.check.name} {self.trial.case.id} {formats}"


@dataclass(frozen=True, slots=True)
class Standards:
    """What speeds are held to where there is no base: loaded once for a device."""

    environment: "Environment"
    goldens: "Mapping[str, PerfGolden]"
    #: Kernels that yardsticks are taken from.
    known: tuple[Kernel, ...]
    limits: "Limits"
    #: What was measured so far.
    speeds: "list[Speed]" = field(default_factory=list)


def everything(pairs: Iterable[tuple[Side | None, Side]], device: str, seed: int) -> Iterator[Timed]:
    """Each head beside its base, on the op's own cases and in each of its formats.

    Raises UsageError where a case is none of the op's.
    """
    from lastbit.perf.compare import Terms, choices, usual_cases
    from lastbit.suites.law import OPS_WITH_LAW

    terms = Terms(device, seed)
    for base, head in pairs:
        if head.kernel.op in OPS_WITH_LAW and device.partition(":")[0] in head.kernel.devices:
            for check, trial in choices(head.kernel, usual_cases(head.kernel.op), terms):
                yield Timed(head, check, trial, terms, base)


def no_speed(one: Timed, records: Iterable[Record]) -> tuple[str, Timing]:
    """Why it has no speed, or "", and what the run's records say of it: results come first.

    A known finding is a failure all the same: what is wrong may be fast.
    """
    timing = Timing(
        one.base.label if one.base else "", one.check.name, threads=one.terms.threads, cold=one.terms.is_cold
    )
    formats = formats_text(one.trial.formats)
    own = [
        record
        for record in records
        if record.timing is None
        and (record.kernel, record.formats, record.device) == (one.head.kernel.name, formats, one.trial.device)
    ]
    failed = [record for record in own if record.outcome.failed]
    passed = sum(record.outcome is Outcome.PASS for record in own)
    timing = replace(timing, passed=passed, failed=len(failed))
    if failed:
        first = failed[0]
        known = f", known as {first.known}" if first.known else ""
        return f"no speed: results are wrong ({first.outcome} in {first.check} {first.case}{known})", timing
    return ("" if passed else "no speed: no check of this run says that its results are right"), timing


def timed(one: Timed, records: Iterable[Record], standards: Standards | None = None) -> Record:
    """The record of one timing: of its case's comparison with the base, else of its speed in terms of `standards`."""
    why, timing = no_speed(one, records)
    start = replace(blank(CHECK, one.trial), timing=timing, reproduce=_command(one), contract=one.trial.contract.text())
    if why:
        return replace(start, reason=why)
    try:
        if one.base is not None:
            return _beside(start, _compared(one.base, one))
        assert standards is not None
        return _golden(start, one, standards)
    except Exception as error:
        text = f"lastbit could not time it: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        return replace(start, outcome=Outcome.ERROR, reason=text)


def standards(device: str, folder: object, threads: int = 1) -> Standards:
    """The golden speeds and the limits of a device; limits are measured if they are not known yet."""
    from pathlib import Path

    from lastbit.discovery import find
    from lastbit.environment import environment
    from lastbit.golden import perf_store
    from lastbit.perf.limits import limits
    from lastbit.perf.yardstick import PROVIDERS

    here = environment((device,))
    goldens = perf_store.find(here.devices[device], Path(str(folder)))
    return Standards(here, goldens, find((), PROVIDERS).kernels, limits(device, threads))


def write(folder: "Path", given: "Mapping[str, Standards]") -> "Path | None":
    """Write the speeds of each device into `folder`, as a run that can be adopted; None where none was measured.

    Raises OSError where the folder cannot be written.
    """
    from lastbit.golden import perf_run

    measured = [speed for one in given.values() for speed in one.speeds]
    if not measured:
        return None
    devices = {name: slug for one in given.values() for name, slug in one.environment.devices.items()}
    first = next(iter(given.values())).environment
    return perf_run.write(folder, perf_run.made(replace(first, devices=devices), measured))


def status(records: Iterable[Record]) -> int:
    """What speeds alone make of a run that conforms: 0, or 3 where one is inconclusive, or none was measured."""
    outcomes = [record.outcome for record in records if record.timing is not None]
    said = any(outcome in (Outcome.PASS, Outcome.SLOW) for outcome in outcomes)
    return 3 if Outcome.INCONCLUSIVE in outcomes or not said else 0


def _compared(base: Side, one: Timed) -> Comparison:
    from lastbit.perf.compare import walk

    (found,) = walk(base, one.head, (one.case,), one.terms)
    return found


def _beside(start: Record, found: Comparison) -> Record:
    assert start.timing is not None
    timing = replace(
        start.timing, ratio=found.ratio, low=found.low, high=found.high, clean=found.clean, taken=found.taken,
        ns=found.head_ns, base_ns=found.base_ns,
    )  # fmt: skip
    return replace(
        start,
        outcome=found.outcome,
        reason=found.reason,
        measured=found.ratio or None,
        allowed=1 + found.allowed if found.ratio else None,
        formula="median of paired ratios, order-statistic interval (Duet benchmarking, arXiv 2001.05811)",
        timing=timing,
        seconds=found.seconds,
    )


def _golden(start: Record, one: Timed, standards: Standards) -> Record:
    from lastbit.golden.perf_drift import stand
    from lastbit.golden.perf_run import software
    from lastbit.perf.reach import reach
    from lastbit.perf.speeds import speeds

    (found,) = speeds([one.head.kernel], standards.known, one.terms, cases=(one.case,))
    standards.speeds.append(found)
    (reached,) = reach([one.head.kernel], standards.limits, one.terms, (one.case,))
    return of_speed(start, found, stand(found, standards.goldens, software(standards.environment, found)), reached)


def of_speed(start: Record, found: "Speed", stands: "Standing", reached: "Reach | None" = None) -> Record:
    """The record of a speed beside its yardstick, as it stands to golden, and of its distance from the limit."""
    assert start.timing is not None
    timing = replace(start.timing, against=found.yard, ratio=found.ratio)
    if found.ratios:
        timing = replace(timing, low=min(found.ratios), high=max(found.ratios))
    if reached is not None and reached.rows and reached.rows[0].measured_s:
        row = reached.rows[0]
        timing = replace(
            timing, ns=row.measured_s * 1e9, limit_ns=row.roofline.seconds * 1e9, bound=row.roofline.bound,
            reached=row.roofline.fraction,
        )  # fmt: skip
    # Without a yardstick nothing can be held to anything: reported, and no cause for another run.
    outcome = stands.outcome if found.yard or stands.outcome.failed else Outcome.NOT_TESTED
    golden = stands.state.value if stands.state.value != "unknown" else ""
    text = stands.reason.replace("\n", "; ")
    return replace(
        start, outcome=outcome, reason=stands.reason, measured=found.ratio or None,
        golden=f"{golden}: {text}" if golden else "", timing=timing,
    )  # fmt: skip


def _command(one: Timed) -> str:
    """The command that times just this again."""
    kernel, head = one.head.kernel.name, _file(one.head)
    words = ["lastbit", "golden", "speed", kernel, *(["--kernels", head] if head else [])]
    if one.base is not None:
        words = ["lastbit", "compare", "--perf", one.base.label, head or kernel, "--kernel", kernel]
        sources = [what[1] for way, what in one.base.ways if way == TREE and what[1] != one.base.label]
        words += [word for source in sources for word in ("--kernels", source)]
    return shlex.join([*words, "--case", one.case, "--device", one.trial.device])


def _file(one: Side) -> str:
    """The file that a kernel comes from; "" of one that has a name everywhere."""
    ways = dict(one.ways)
    return "" if "provider" in ways or "file" not in ways else str(ways["file"][0])


def unheard(records: Sequence[Record]) -> str:
    """Why a run whose speeds say nothing must not be green, or ""."""
    spoken = [record for record in records if record.timing is not None]
    if not spoken:
        return "no speed was judged: no kernel of this run has a case to time"
    if all(record.outcome is Outcome.NOT_TESTED for record in spoken):
        return f"no speed was judged: {spoken[0].reason}"
    return ""
