"""One pytest session's walk of the law: its plan, its records as they arrive, and its exit status."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from lastbit.choices import Options, selection
from lastbit.errors import LastbitError, UsageError
from lastbit.session_options import is_partial, read
from lastbit.session_texts import command, item_id, near
from lastbit.settling import failure, reproduce, settles
from lastbit.verdict import Outcome

if TYPE_CHECKING:
    from lastbit.case import Check, Trial
    from lastbit.discovery import Found
    from lastbit.reports.run import RunWriter
    from lastbit.session import Plan, Policy
    from lastbit.verdict import Record

#: Exit statuses of pytest that say less than a problem of ours: conforms, tests failed (a collection error under
#: pytest-xdist), nothing collected.
_CORRECTED = (0, 1, 5)


@dataclass(slots=True, eq=False)
class Walk:
    """The state of a session, itself a plugin; the controller of pytest-xdist keeps the account, its workers judge."""

    config: pytest.Config
    options: Options
    records: "dict[str, Record]" = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    #: Why the run as a whole cannot be trusted or was asked wrongly; each makes the exit status 2.
    problems: list[str] = field(default_factory=list)
    #: Whether a test file of the law was collected.
    walked: bool = False
    #: What else a reader of the account should know.
    remarks: list[str] = field(default_factory=list)
    #: Tests (node ids without parameters) of ops for which there is nothing to judge.
    idle: set[str] = field(default_factory=set)
    #: Mistakes of the user that have ended a test file's collection.
    _told: set[str] = field(default_factory=set)
    _found: "Found | None" = None
    #: Baselines and findings by op.
    _policy: "dict[str, Policy]" = field(default_factory=dict)
    _writer: "RunWriter | None" = None
    #: Records and absent providers of the plan that no report has carried to the controller yet.
    _unsent: dict[str, Any] = field(default_factory=dict)

    @property
    def is_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist, which leaves the account to its controller."""
        return hasattr(self.config, "workerinput")

    @property
    def is_to_be_timed(self) -> bool:
        """Whether this process has speeds to judge once results are."""
        return self.options.timed and self.walked and not self.is_worker and not self.config.option.collectonly

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """One test for each trial of the module's OP."""
        self.walked = True
        try:
            plan: Plan | None = self._plan(metafunc.module.OP)
        except LastbitError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                # An error without a traceback: the user's mistake, not the law's.
                raise pytest.Collector.CollectError(f"lastbit: {error}") from None
            plan = None  # another op's test file has said it
        if plan is not None:
            self._hand_over(plan)
        choices = () if plan is None else plan.choices
        if not choices:
            self.idle.add(metafunc.definition.nodeid)
        metafunc.parametrize("lastbit_trial", choices, ids=[item_id(*choice) for choice in choices])

    def leave_out_idle(self, items: list[pytest.Item]) -> None:
        """Take the placeholders of idle ops out of `items`, but for one if no trial is left that stands for the run."""
        idle = [item for item in items if item.nodeid.partition("[")[0] in self.idle]
        busy = any("lastbit_trial" in getattr(item, "fixturenames", ()) for item in items if item not in idle)
        left_out = idle if busy else idle[1:]
        items[:] = [item for item in items if item not in left_out]

    def judge(self, item: pytest.Item, check: "Check", trial: "Trial") -> None:
        """Judge one trial and end the test as its outcome says."""
        from lastbit import session

        self.settle(item, session.judge(check, trial, self._policy[trial.kernel.op]))

    def settle(self, item: pytest.Item, record: "Record") -> None:
        """Keep the record of a test, and end the test as the record says."""
        from lastbit.reports.junit import properties
        from lastbit.reports.run import encode

        item.stash[RECORD] = encode(record)
        if self.config.getoption("xmlpath", None):
            item.user_properties += properties(record)
        settled = settles(record, self.options.strict)
        if settled == "fail":
            pytest.fail(failure(record), pytrace=False)
        if settled == "known":
            pytest.xfail(f"known finding {record.known}: {record.reason}")
        if settled == "skip":
            pytest.skip(f"{record.outcome}: {record.reason}")

    def send(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Put the record of `item`, as text, on its report; the first report carries what else the plan says."""
        if RECORD in item.stash:
            report.lastbit = item.stash[RECORD]  # type: ignore[attr-defined]
            if self._unsent:
                report.lastbit_plan, self._unsent = self._unsent, {}  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record of a report into the account."""
        if not self.is_worker and str(report.when) == "???" and "::test_" in report.nodeid:
            self._bury(report)
        if self.is_worker or not hasattr(report, "lastbit"):
            return
        from lastbit.reports.run import decode

        self.receive_plan(getattr(report, "lastbit_plan", None))
        self._keep(decode(report.lastbit))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a mistake that a worker met while collecting: it is the user's, and the exit status must say so."""
        text = str(report.longrepr) if report.failed else ""
        if text.startswith("lastbit: "):
            self.walked = True
            self.problems.append(text.removeprefix("lastbit: "))

    def receive_plan(self, sent: dict[str, Any] | None) -> None:
        """Take what a worker's plan leaves out into the account; every worker sends the same."""
        if not sent:
            return
        import msgspec

        from lastbit.environment import Environment
        from lastbit.reports.run import Header, RunWriter, decode

        self.walked = True
        self.absent.update(sent["absent"])
        if self._writer is None:
            environment = msgspec.convert(sent["environment"], Environment)
            header = Header(environment, self.options.tier, self.options.seed, options=selection(self.options))
            self._writer = RunWriter(self.options.report, header)
        for text in sent["untested"]:
            self._keep(decode(text))

    def finish(self, session: pytest.Session) -> None:
        """Close the account: the exit status, the end of run.jsonl, the report; a worker hands over what is left."""
        if self.is_worker:
            if self._unsent and not self.config.option.collectonly:
                self.config.workeroutput["lastbit"] = self._unsent  # type: ignore[attr-defined]
            return
        if not self.config.option.collectonly:
            self.receive_plan(self._unsent)
        if self._writer is not None and self._writer.problem:
            self.problems.append(self._writer.problem)
        if self.walked and not self.config.option.collectonly:
            if not self.problems and not any(record.outcome.judged for record in self.records.values()):
                self.problems.append(": ".join(filter(None, ("nothing was judged", self._why_nothing()))))
            failed = any(settles(record, self.options.strict) == "fail" for record in self.records.values())
            if self.problems and not failed and session.exitstatus in _CORRECTED:
                session.exitstatus = 2
            elif not is_partial(session, self.options) and session.exitstatus == 0 and self._gone():
                session.exitstatus = 1
            elif self.options.timed and session.exitstatus == 0:
                from lastbit.perf.phase import status

                session.exitstatus = status(self.records.values())
        if self._writer is not None:
            self._store(self._writer, int(session.exitstatus))

    def summary(self, terminal: pytest.TerminalReporter) -> None:
        """The account in the terminal."""
        if not self.walked or self.config.option.collectonly:
            return
        from lastbit.reports.terminal import lines

        terminal.section("lastbit")
        environment = self._writer.header.environment if self._writer is not None else None
        for line in lines(tuple(self.records.values()), environment, self._notes(), self._gone()):
            terminal.write_line(line)
        if self._writer is not None and not self._writer.problem:
            place = near(self.options.report)
            terminal.write_line(f"report: {place}/index.html and report.md, records: {self._writer.path.name}")
        for problem in dict.fromkeys(self.problems):
            terminal.write_line(f"lastbit: {problem}", red=True)

    def _bury(self, report: pytest.TestReport) -> None:
        """Keep the record of a trial whose worker of pytest-xdist died: such a report comes from no test."""
        from lastbit import session
        from lastbit.suites.law import OPS_WITH_LAW

        path, _, test = report.nodeid.partition("::test_")
        op, _, case = test.partition("[")
        if op not in OPS_WITH_LAW or not path.endswith(f"test_{op}.py"):
            return
        plan = session.plan(self.options, self.kernels(), (op,))
        for check, trial in plan.choices:
            if item_id(check, trial) == case.removesuffix("]"):
                reason = f"the process died that the kernel ran in (pytest-xdist: {report.longrepr})"
                record = replace(session.blank(check.name, trial), outcome=Outcome.CRASHED, reason=reason)
                self._keep(replace(record, reproduce=reproduce(record, command(self.config))))

    def _plan(self, op: str) -> "Plan":
        """The plan of one op's test file, and what its verdicts are compared with."""
        from lastbit import session
        from lastbit.reports.run import unwritable

        if why := unwritable(self.options.report):
            raise UsageError(f"--lastbit-report is {self.options.report}, but {why}; give another folder")
        plan = session.plan(self.options, self.kernels(), (op,))
        self._policy[op] = session.policy(self.options, command(self.config), plan)
        return plan

    def kernels(self) -> "Found":
        """The kernels of this session."""
        if self._found is None:
            from lastbit.discovery import find, hooked

            offered = hooked(lambda: self.config.hook.pytest_lastbit_kernels(config=self.config))
            self._found = find(self.options.kernels, self.options.only, offered)
        return self._found

    def _why_nothing(self) -> str:
        if not self.options.case:
            return ""
        from lastbit.session import why_nothing

        try:
            return why_nothing(self.options, self.kernels())
        except LastbitError:  # said already, by the test file that met it
            return ""

    def _store(self, writer: "RunWriter", status: int) -> None:
        """End the stored run and write its report, which can be written again where that fails."""
        from lastbit.explaining import explained
        from lastbit.reports.folder import MARKDOWN, write
        from lastbit.reports.job_summary import append
        from lastbit.reports.run import read

        writer.close(status, self._notes(), self._gone(), explained(self.options, self.records.values()))
        try:
            write(read(writer.path), writer.path.parent)
            self.remarks += append(writer.path.with_name(MARKDOWN))
        except LastbitError as error:
            writer.problem = writer.problem or f"the report is not written ({error})"
            self.problems.append(writer.problem)

    def _notes(self) -> list[str]:
        from lastbit.session import expired

        notes = [*self.remarks, *(f"no kernels from {name}: {why}" for name, why in self.absent.items())]
        return notes if self._writer is None else notes + expired(self.options)

    def _gone(self) -> list[str]:
        """Known findings of which no judged case fails any more."""
        if self._writer is None:
            return []
        from lastbit.session import gone

        return gone(self.options, tuple(self.records.values()), self._writer.header.environment)

    def _hand_over(self, plan: "Plan") -> None:
        import msgspec

        from lastbit.environment import environment
        from lastbit.reports.run import encode

        untested = [encode(record) for record in plan.untested]
        self._unsent = {
            "environment": msgspec.to_builtins(environment(plan.devices)),
            "absent": dict(plan.absent),
            "untested": [*self._unsent.get("untested", ()), *untested],
        }

    def _keep(self, record: "Record") -> None:
        if record.key in self.records and record.outcome in (Outcome.NOT_TESTED, Outcome.UNSUPPORTED):
            return
        self.records[record.key] = record
        if self._writer is not None:
            self._writer.write(record)


RECORD = pytest.StashKey[str]()


def start(config: pytest.Config) -> Walk:
    """The walk of this session; raises UsageError when an option's value cannot be used."""
    walk = Walk(config, read(config))
    if walk.options.timed:
        from lastbit.speed_phase import check

        check(config, walk.options)
    config.pluginmanager.register(walk, "lastbit.walk")
    return walk
