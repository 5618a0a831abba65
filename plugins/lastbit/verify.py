"""Judging without pytest: `verify` walks the law over a kernel, and reports what it found."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.choices import Options, options, selection
from lastbit.contract import Contract
from lastbit.errors import KernelError, UsageError
from lastbit.kernel import INDICES, OPERANDS, SCALES, Kernel
from lastbit.settling import exit_status
from lastbit.verdict import Finding, Outcome, Record, finding

if TYPE_CHECKING:
    from lastbit.discovery import Found
    from lastbit.environment import Environment
    from lastbit.reports.run import RunWriter
    from lastbit.session import Plan, Policy

Progress = Callable[[int, int, Record], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found; `str` of it is what a person reads."""

    #: Something was judged, and nothing fails that is not a known finding.
    passed: bool
    #: Every record that is neither a pass nor left out.
    findings: tuple[Finding, ...]
    #: Every record, those of cases that were not tested too.
    records: tuple[Record, ...]
    environment: "Environment"
    #: Why libraries of this machine offered no kernels, and the like.
    notes: tuple[str, ...] = ()
    #: Exit status of a command that ends with this report: 0 conforms, 1 does not, 2 nothing was judged.
    status: int = field(default=0)

    def __str__(self) -> str:
        from lastbit.reports.terminal import lines

        return "\n".join(lines(self.records, self.environment, self.notes))


def verify(
    kernel: Kernel | Callable[..., Any],
    *,
    op: str = "gemm",
    formats: Any = None,
    contract: Contract | None = None,
    framework: str = "torch",
    name: str = "",
    features: Iterable[str] = (),
    scaling: Any = None,
    device: str | None = "cpu",
    tier: str = "standard",
    seed: int = 0,
    case: str | Iterable[str] = (),
    golden: str | Path | None = None,
    strict: bool = False,
    isolate: bool = False,
) -> Report:
    """The report of a kernel over the whole law of its op; device None is every device found.

    A function needs `formats`, one mapping of operands and "out" to formats or several, and takes the other fields of
    a Kernel as they stand here; a Kernel brings its own. `case` picks single cases, "CHECK CASE FORMATS", as a failure
    names them. `golden` is the folder of baselines to compare with, golden/ in the working directory by default.
    `isolate` runs the kernel in a process of its own.

    Raises UsageError or KernelError when an argument cannot be used.
    """
    from lastbit.discovery import Found

    if not isinstance(kernel, Kernel):
        kernel = _kernel(kernel, op, formats, contract, framework, name, features, scaling)
    elif formats is not None or contract is not None:
        raise UsageError(
            f"verify({kernel.name}): a Kernel brings its own formats and contract; use dataclasses.replace"
        )
    given: dict[str, Any] = {"tier": tier, "seed": seed, "golden": golden, "strict": strict, "isolate": isolate}
    given["device"] = [device] if device else []
    given["case"] = [case] if isinstance(case, str) else list(case)
    return walk(Found((kernel,)), given, "lastbit.verify(kernel")


def walk(found: "Found", given: Mapping[str, Any], command: str, progress: Progress | None = None) -> Report:
    """The report of the found kernels under the options `given`; `progress` hears (done, all, record) as it goes.

    With the option "report" the records and the report are stored in that folder too.
    """
    from lastbit import session
    from lastbit.environment import environment
    from lastbit.explaining import explained

    chosen = options(given, Path.cwd())
    if chosen.timed:
        raise UsageError("lastbit verify judges results, not speed: pytest --lastbit-perf, or lastbit compare --perf")
    plan = session.plan(chosen, found)
    rules = session.policy(chosen, command, plan)
    here = environment(plan.devices)
    writer = _writer(chosen, here) if given.get("report") else None
    records = []
    for done, record in enumerate(_judged(plan, rules), 1 - len(plan.untested)):
        records.append(record)
        if writer is not None:
            writer.write(record)
        if progress is not None and done > 0:
            progress(done, len(plan.choices), record)
    status = exit_status(records, chosen.strict)
    notes = [f"no kernels from {name}: {why}" for name, why in plan.absent.items()]
    notes += session.expired(chosen)
    no_longer = session.gone(chosen, records, here)
    if not any(record.outcome.judged for record in records) and (why := session.why_nothing(chosen, found)):
        notes.append(why)
    if writer is not None:
        writer.close(status, notes, no_longer, explained(chosen, records))
        notes += (unwritten := _unwritten(writer, notes))
        status = status or (2 if unwritten else 0)
    notes += no_longer
    findings = tuple(finding(r) for r in records if r.outcome not in (Outcome.PASS, Outcome.NOT_TESTED))
    return Report(status == 0, findings, tuple(records), here, tuple(notes), status)


def _judged(plan: "Plan", rules: "Policy") -> Iterator[Record]:
    """The records of what is left out, then of each trial as it is judged."""
    from lastbit.session import judge

    yield from plan.untested
    for check, trial in plan.choices:
        yield judge(check, trial, rules)


def _writer(chosen: Options, environment: "Environment") -> "RunWriter":
    from lastbit.reports.run import Header, RunWriter, unwritable

    if why := unwritable(chosen.report):
        raise UsageError(f"--lastbit-report is {chosen.report}, but {why}; give another folder")
    return RunWriter(chosen.report, Header(environment, chosen.tier, chosen.seed, options=selection(chosen)))


def _unwritten(writer: "RunWriter", notes: list[str]) -> list[str]:
    """Write the report of the stored run; why that, or the run, is not stored whole.

    Why the summary of a CI job lacks it, which changes no verdict, is added to `notes`.
    """
    from lastbit.errors import LastbitError
    from lastbit.reports.folder import MARKDOWN, write
    from lastbit.reports.job_summary import append
    from lastbit.reports.run import read

    try:
        write(read(writer.path), writer.path.parent)
        notes += append(writer.path.with_name(MARKDOWN))
    except LastbitError as error:
        return [writer.problem or f"the report is not written ({error})"]
    return [writer.problem] if writer.problem else []


def _kernel(
    run: Callable[..., Any],
    op: str,
    formats: Any,
    contract: Contract | None,
    framework: str,
    name: str,
    features: Iterable[str],
    scaling: Any,
) -> Kernel:
    if not callable(run):
        raise UsageError(f"verify: {run!r} is neither a Kernel nor a function")
    known = name or f"{run.__module__.rpartition('.')[2]}/{getattr(run, '__name__', type(run).__name__)}"
    known = known.replace("<lambda>", "lambda")
    if formats is None:
        needed = {one: "f32" for one in OPERANDS.get(op, OPERANDS["gemm"]) if one not in (*INDICES, *SCALES)}
        raise KernelError(f"kernel {known}: formats is missing; give formats={needed}")
    promise = contract or Contract()
    return Kernel(known, op, run, formats, promise, framework, features=frozenset(features), scaling=scaling)
