"""A run: which trials it consists of, and the record that each one leaves."""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lastbit import case_choice
from lastbit.case import TIERS, Case, Check, Trial
from lastbit.choices import Options
from lastbit.contract import resolved
from lastbit.errors import UsageError
from lastbit.kernel import REDUCTIONS, Kernel, formats_text, limit_of
from lastbit.scaled_operands import SCALED_OPS
from lastbit.settling import reproduce
from lastbit.verdict import Outcome, Record, Verdict

if TYPE_CHECKING:
    from lastbit.discovery import Found
    from lastbit.environment import Environment

Choice = tuple[Check, Trial]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will judge, and what it will not."""

    choices: tuple[Choice, ...]
    #: A NOT_TESTED or UNSUPPORTED record for everything that was asked for and cannot be judged, with the reason.
    untested: tuple[Record, ...] = ()
    #: Providers that offer nothing here, and why.
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that a record of this plan names."""
        judged = [trial.device for _, trial in self.choices]
        return tuple(dict.fromkeys([*judged, *(record.device for record in self.untested)])) or ("cpu",)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a run compares its verdicts with; looked up once."""

    #: The record with its drift from golden and the finding that it is known as.
    annotate: Callable[[Record], Record] = lambda record: record
    #: Settings of a trial: overrides of suites/budgets.toml.
    settings: Callable[[Check, Trial], Mapping[str, Any]] = lambda check, trial: {}
    #: The command before the options that pick one case, and the options that the kernel needs to be found.
    command: str = "pytest --pyargs lastbit.suites"


def plan(options: Options, found: "Found", ops: Iterable[str] | None = None) -> Plan:
    """The trials of the found kernels under `options`; `ops` narrows them to those of one test file.

    Raises UsageError when an op has no law, a device is not here, or a case is not one.
    """
    from lastbit.discovery import devices_found
    from lastbit.suites.law import checks

    for op in options.op:
        checks(op)
    here = devices_found(found.kernels)
    devices = options.device or here
    for device in devices:
        if device.partition(":")[0] not in here:
            raise UsageError(f"--lastbit-device is {device!r}, but this machine has {', '.join(here)}")
    wanted = options.op if ops is None else tuple(op for op in ops if not options.op or op in options.op)
    if ops is not None and not wanted:
        return Plan((), (), found.absent)
    return select(found.kernels, options, wanted, devices, found.absent)


def select(
    kernels: Iterable[Kernel],
    options: Options,
    ops: Iterable[str] = (),
    devices: Iterable[str] = ("cpu",),
    absent: Mapping[str, str] | None = None,
    law: Callable[[str], tuple[Check, ...]] | None = None,
) -> Plan:
    """The trials of `kernels` whose op is one of `ops` (empty: any) on `devices`, and the records of what is left out.

    Trials of the same check, case and formats lie side by side, so that kernels share data and truth. A shard holds
    the records whose key hashes into it, whatever else is selected.
    """
    if law is None:
        from lastbit.suites.law import checks

        law = checks
    ops, devices = tuple(ops), tuple(devices)
    chosen: dict[str, list[Choice]] = {}
    untested: list[Record] = []
    for kernel in kernels:
        if ops and kernel.op not in ops:
            continue
        reason, outcome = _whole_kernel(kernel, options, devices)
        if reason:
            untested.append(_unjudged(kernel, outcome, reason, options))
            continue
        for check, case in case_choice.chosen(law(kernel.op), options, _every_check):
            for trial in _trials(kernel, case, devices, options, check):
                why = _why_not(check, trial)
                if why:
                    record = blank(check.name, trial)
                    untested.append(replace(record, outcome=Outcome.NOT_TESTED, reason=why))
                else:
                    chosen.setdefault(f"{check.name} {case.id}", []).append((check, trial))
    ordered = [choice for group in chosen.values() for choice in sorted(group, key=_formats)]
    return Plan(
        tuple(choice for choice in ordered if _in_shard(blank(choice[0].name, choice[1]), options)),
        tuple(record for record in untested if _in_shard(record, options)),
        absent or {},
    )


def blank(check: str, trial: Trial) -> Record:
    """The record of a trial of the check of this name, before it is judged."""
    return Record(
        kernel=trial.kernel.name,
        op=trial.kernel.op,
        formats=formats_text(trial.formats),
        device=trial.device,
        check=check,
        case=trial.case.id,
        outcome=Outcome.NOT_TESTED,
        contract=trial.contract.text(),
        source=trial.contract.source,
        tier=trial.tier,
        seed=trial.seed,
    )


def policy(options: Options, command: str, plan: Plan) -> Policy:
    """What the verdicts of `plan` are compared with: golden baselines, known findings, overrides of budgets.

    Raises GoldenError when a golden, budgets or findings file cannot be used as it stands.
    """
    from lastbit import policy as files
    from lastbit.environment import environment
    from lastbit.golden.drift import judged
    from lastbit.golden.match import baselines

    here = environment(plan.devices)
    wanted = {(trial.kernel.op, trial.device) for _, trial in plan.choices}
    golden = {(op, device): baselines(op, here.devices[device], options.golden) for op, device in sorted(wanted)}
    rows = files.load(options.policy)

    def annotate(record: Record) -> Record:
        return files.annotated(judged(record, golden[record.op, record.device], here), rows.findings, here)

    def known(name: str, trial: Trial, outcome: Outcome) -> bool:
        record = replace(blank(name, trial), outcome=outcome)
        return bool(files.known(record, rows.findings, here))

    def settings(check: Check, trial: Trial) -> Mapping[str, Any]:
        return {"known": known, **files.settings(rows.overrides, check.name, trial)}

    return Policy(annotate, settings, command)


def why_nothing(options: Options, found: "Found") -> str:
    """Why the single cases that were asked for are none of the found kernels', or ""."""
    from lastbit.suites.law import OPS_WITH_LAW, checks

    ops = sorted({kernel.op for kernel in found.kernels} & set(OPS_WITH_LAW))
    said = []
    for text in options.case:
        own = [kernel for kernel in found.kernels if kernel.op in ops and case_choice.is_of(checks(kernel.op), text)]
        have = sorted({formats_text(one).replace(" ", ",") for kernel in own for one in kernel.format_sets})
        asked = case_choice.parts(text)[2]
        if not own:
            said.append(f"--lastbit-case {text!r} is no case of {', '.join(ops) or 'an op'} that kernels were found of")
        elif asked and asked not in have:
            said.append(f"--lastbit-case asks for {asked}, but the kernels found have {' or '.join(have)}")
    return "; ".join(said)


def gone(options: Options, records: Sequence[Record], environment: "Environment") -> list[str]:
    """Known findings that no longer happen; each makes a whole run fail, for a part of one cannot tell."""
    from lastbit import policy as files

    return files.unused(files.load(options.policy).findings, records, environment)


def expired(options: Options) -> list[str]:
    """Budget overrides that have no effect any more."""
    from lastbit import policy as files

    return files.expired(files.load(options.policy).overrides)


def judge(check: Check, trial: Trial, rules: Policy | None = None) -> Record:
    """The record of one trial: the check's verdict, or ERROR with the traceback where lastbit itself fails."""
    rules = rules or Policy()
    start = time.perf_counter()
    try:
        settings = rules.settings(check, trial)
        verdict = check.judge(replace(trial, settings={**trial.settings, **settings}) if settings else trial)
    except UsageError as error:  # of a case that the user wrote: there is nothing that a traceback would tell
        verdict = Verdict(Outcome.ERROR, f"the case cannot be judged: {error}")
    except Exception:
        verdict = Verdict(Outcome.ERROR, f"lastbit failed, which is no fault of the kernel\n{traceback.format_exc()}")
    seconds = time.perf_counter() - start
    record = replace(
        blank(check.name, trial),
        outcome=verdict.outcome,
        reason=verdict.reason,
        measured=verdict.measured,
        allowed=verdict.allowed,
        where=verdict.where,
        formula=verdict.formula,
        proof=verdict.proof,
        stats=verdict.stats,
        digest=verdict.digest,
        notes=dict(verdict.notes),
        histogram=verdict.histogram,
        terms=verdict.terms,
        allowed_ulp=verdict.allowed_ulp,
        got=verdict.got,
        want=verdict.want,
        seconds=round(seconds, 6),
    )
    return rules.annotate(replace(record, reproduce=reproduce(record, rules.command)))


def _every_check() -> set[str]:
    from lastbit.suites.law import OPS_WITH_LAW, checks

    return {check.name for op in OPS_WITH_LAW for check in checks(op)}


def _trials(kernel: Kernel, case: Case, devices: tuple[str, ...], options: Options, check: Check) -> Iterator[Trial]:
    from lastbit.discovery import matrix_engine

    settings = {"isolate": True} if options.isolate else {}
    for formats in kernel.format_sets:
        asked = {case_choice.parts(text)[2] for text in options.case if text.split()[:2] == [check.name, case.id]}
        if asked and "" not in asked and formats_text(formats).replace(" ", ",") not in asked:
            continue
        for device in devices:
            if device.partition(":")[0] in kernel.devices:
                engine = "" if kernel.op in (*REDUCTIONS, *SCALED_OPS) else matrix_engine(device)
                contract = resolved(kernel.contract, formats, engine)
                yield Trial(kernel, formats, contract, device, case, options.seed, options.tier, settings)


def _whole_kernel(kernel: Kernel, options: Options, devices: tuple[str, ...]) -> tuple[str, Outcome]:
    from lastbit.suites.law import OPS_WITH_LAW

    if kernel.op not in OPS_WITH_LAW:
        return f"lastbit has no law for {kernel.op} yet; it judges {', '.join(OPS_WITH_LAW)}", Outcome.NOT_TESTED
    if TIERS.index(kernel.tier) > TIERS.index(options.tier):
        return f"runs from tier {kernel.tier} on; this run's tier is {options.tier}", Outcome.NOT_TESTED
    if not any(device.partition(":")[0] in kernel.devices for device in devices):
        return f"runs on {', '.join(kernel.devices)}; this run's devices: {', '.join(devices)}", Outcome.UNSUPPORTED
    return "", Outcome.PASS


def _why_not(check: Check, trial: Trial) -> str:
    """Why this trial is left out, or ""."""
    limit = limit_of(trial.kernel, trial.formats)
    if limit is not None:
        from lastbit.suites.law import sizes

        volume = 1
        for size in sizes(trial).values():
            volume *= size
        if volume > limit:
            return f"{volume} products are more than the {limit} that the kernel is asked for at most"
    return check.applies(trial)


def _unjudged(kernel: Kernel, outcome: Outcome, reason: str, options: Options) -> Record:
    """The one record of a kernel that is left out whole."""
    formats = formats_text(kernel.format_sets[0])
    device = kernel.devices[0] if kernel.devices else ""
    return Record(
        kernel.name, kernel.op, formats, device, "*", "*", outcome, reason, tier=options.tier, seed=options.seed
    )


def _formats(choice: Choice) -> str:
    return formats_text(choice[1].formats)


def _in_shard(record: Record, options: Options) -> bool:
    part, parts = options.shard
    return parts == 1 or int(hashlib.sha256(record.key.encode()).hexdigest()[:8], 16) % parts == part - 1
