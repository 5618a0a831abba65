"""Tries the mutants of one module against its tests, in forks of a process that has imported and collected everything.

A fork that dies, raises or hangs costs nothing, and no file is touched: a mutant of a function replaces that function's
code in the fork; a mutant of the module itself, or of a function that ran while it was imported, is what the fork
imports in place of the file.
"""

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import hypothesis
import pytest

from mutation.mutants import Mutant

ROOT = Path(__file__).resolve().parents[1]
#: Imported before the first fork, as far as installed: what most tests spend their time on.
HEAVY = (
    "numpy",
    "mpmath",
    "gmpy2",
    "ml_dtypes",
    "msgspec",
    "tabulate",
    "hypothesis.extra.numpy",
    "hypothesis.strategies",
)
#: A mutant has this many times the time of its tests, and so many seconds: the machine may be busy.
PATIENCE, GRACE_S = 5.0, 10.0
#: Address space of a mutant, several times that of the tests: a mistake in a size must not take the machine's memory.
MEMORY_BYTES = 16 << 30

KILLED, SURVIVED, HUNG, UNTESTED = "killed", "survived", "hung", "untested"


@dataclass(slots=True)
class Baseline:
    """What the tests do to the module as it is."""

    #: Seconds of each test that passed, and whether all did.
    seconds: dict[str, float] = field(default_factory=dict)
    passed: bool = True
    #: The tests that run each line, and the lines that run while modules are imported and tests collected.
    tests: dict[int, set[str]] = field(default_factory=dict)
    imported: set[int] = field(default_factory=set)


def import_name(module: str) -> str:
    """The name under which the file `module` is imported: references/eft.py is lastbit.references.eft."""
    parts = Path(module).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "plugins" else ("lastbit", *parts))


def try_all(module: str, tests: Sequence[str], mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """(mutant, how it ended) of all `mutants` of the file `module`; `tests` are the files of suites/meta that judge it.

    Raises RuntimeError if the tests do not pass without a mutant.
    """
    _prepare(tests)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "wb") as stream:
            _guarded(lambda: _run(tests, [_Collected(module, mutants, stream)]))
    os.close(write)
    rest: list[Mutant] = []
    baseline = Baseline(passed=False)
    with os.fdopen(read, "rb") as stream:
        while True:
            try:
                message = pickle.load(stream)
            except EOFError:
                break
            if isinstance(message, Baseline):
                baseline = message
            elif message[1] is None:
                rest.append(mutants[message[0]])
            else:
                yield mutants[message[0]], message[1]
    os.waitpid(child, 0)
    if not baseline.passed:
        raise RuntimeError(f"{module}: its tests fail as it is, or did not run: pytest {' '.join(tests)}")
    order = sorted(baseline.seconds, key=lambda name: baseline.seconds[name])
    for mutant in rest:
        yield mutant, _in_fork(partial(_imported, mutant, tests, order), sum(baseline.seconds.values()))[0]


def outcomes_of(module: str, tests: Sequence[str], mutants: Sequence[Mutant]) -> list[tuple[Mutant, str]]:
    """All of `try_all`, for a process of a pool."""
    return list(try_all(module, tests, mutants))


def _prepare(tests: Sequence[str]) -> None:
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    # Neither luck nor a data base decides whether a mutant lives; the smallest failing example interests nobody.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", derandomize=True, deadline=None, database=None, phases=phases)
    hypothesis.settings.load_profile("mutation")
    torch = any("torch" in (ROOT / test).read_text(encoding="utf-8") for test in tests)
    for name in (*HEAVY, *(["torch"] if torch else [])):
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def _run(tests: Sequence[str], plugins: list[Any]) -> int:
    """pytest on the files `tests`, without a word."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout", "--lastbit-report=")
    return int(pytest.main([*options, *tests], plugins=plugins))


def _guarded(work: Callable[[], Any]) -> None:
    """The whole life of a fork."""
    status = 3
    try:
        status = int(work() or 0)
    finally:
        os._exit(status)


def _in_fork(work: Callable[[int], int], expected_s: float) -> tuple[str, str]:
    """How a fork that does `work` ends, status 0 is survival, and what it wrote to the descriptor that it is given."""
    limit_s = PATIENCE * expected_s + GRACE_S
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.close(read)
        signal.alarm(int(limit_s) + 2)  # should nobody be left to kill it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        _guarded(partial(work, write))
    os.close(write)
    # The pipe ends with the fork, also if that is killed; what is written comes just before.
    ended, _, _ = select.select([read], [], [], limit_s)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    said = os.read(read, 1 << 12).decode() if ended else ""
    os.close(read)
    status = os.waitpid(child, 0)[1]
    if not ended:
        return HUNG, said
    return SURVIVED if status == 0 else KILLED, said


class _Collected:
    """A pytest plugin that, in place of the tests, tries all mutants that need no new import."""

    def __init__(self, module: str, mutants: Sequence[Mutant], stream: Any) -> None:
        self.path, self.name = str(ROOT / module), import_name(module)
        self.mutants, self.stream = mutants, stream
        #: Mutants that each test has killed.
        self.kills: Counter[str] = Counter()
        self.coverage = coverage.Coverage(data_file=None, include=[self.path], config_file=False)
        self.coverage.start()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure the tests, then try the mutants."""
        importlib.import_module(self.name)
        self.coverage.stop()
        imported = set(self.coverage.get_data().lines(self.path) or ())
        baseline = self._measured(session)
        baseline.imported = imported
        self._send(baseline)
        if not baseline.passed:
            return True
        functions = _functions(self.name)
        items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()
        for number, mutant in enumerate(self.mutants):
            self._send((number, self._tried(mutant, baseline, functions, items, session)))
        return True

    def _send(self, message: Any) -> None:
        pickle.dump(message, self.stream)
        self.stream.flush()

    def _measured(self, session: pytest.Session) -> Baseline:
        """Time and lines of each test, from a fork: what the tests leave behind must not meet the mutants."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            with os.fdopen(write, "wb") as stream:
                _guarded(lambda: pickle.dump(self._watched(session), stream) or stream.flush())  # type: ignore[func-returns-value]
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            baseline = pickle.load(stream)
        os.waitpid(child, 0)
        assert isinstance(baseline, Baseline)
        return baseline

    def _watched(self, session: pytest.Session) -> Baseline:
        found = Baseline()
        self.coverage.start()
        reports = _Failures()
        session.config.pluginmanager.register(reports)
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            self.coverage.switch_context(item.nodeid)
            begin = time.perf_counter()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.nodeid in reports.passed:
                found.seconds[item.nodeid] = time.perf_counter() - begin
        self.coverage.stop()
        found.passed = not reports.failed and bool(found.seconds)
        for line, names in self.coverage.get_data().contexts_by_lineno(self.path).items():
            found.tests[line] = set(names) & set(found.seconds)
        return found

    def _tried(
        self,
        mutant: Mutant,
        baseline: Baseline,
        functions: dict[str, list[FunctionType]],
        items: dict[str, pytest.Item],
        session: pytest.Session,
    ) -> str | None:
        """How the mutant ended; None if it has to be imported."""
        lines = set(range(mutant.lines[0], mutant.lines[1] + 1))
        code = _code(mutant) if mutant.function in functions else None
        if code is None or lines & baseline.imported:
            return None
        names = set().union(*(baseline.tests.get(line, set()) for line in lines))
        if not names:
            return UNTESTED
        # The fastest first, sooner still what has killed others.
        order = sorted(names, key=lambda name: baseline.seconds[name] / (1 + self.kills[name]))

        def run(killer: int) -> int:
            for function in functions[mutant.function]:
                function.__code__ = code
            reports = _Failures()
            session.config.pluginmanager.register(reports)
            chosen = [items[name] for name in order]
            for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if reports.failed:
                    os.write(killer, item.nodeid.encode()[: 1 << 12])
                    return 1
            return 0

        outcome, killer = _in_fork(run, sum(baseline.seconds[name] for name in order))
        self.kills[killer] += 1
        return outcome


class _Failures:
    """A pytest plugin that remembers which tests passed, and whether any failed."""

    def __init__(self) -> None:
        self.failed = False
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a phase."""
        self.failed = self.failed or report.failed
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)


def _functions(name: str) -> dict[str, list[FunctionType]]:
    """The functions of an imported module by qualified name, wherever a decorator may have put them."""
    found: dict[str, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__module__ == name:
            found.setdefault(thing.__qualname__, []).append(thing)
    return found


def _code(mutant: Mutant) -> CodeType | None:
    """The code of the mutated function, unless a plain replacement cannot do."""
    code = compile(mutant.source, str(ROOT / mutant.module), "exec")
    for name in mutant.function.split("."):
        inner = [const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name]
        if len(inner) != 1:
            return None
        code = inner[0]
    return None if code.co_freevars else code


def _imported(mutant: Mutant, tests: Sequence[str], order: list[str], _: int) -> int:
    """Status of the tests, fastest first, where the mutant is imported in place of its file."""
    sys.meta_path.insert(0, _Finder(mutant))
    return _run(tests, [_Order(order)])


class _Order:
    """A pytest plugin that runs the named tests in that order."""

    def __init__(self, order: list[str]) -> None:
        self.order = {name: place for place, name in enumerate(order)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and sort."""
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda item: self.order[item.nodeid])


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutant in place of its file."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.name = mutant, import_name(mutant.module)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The specification of the mutated module; None for all others."""
        if fullname != self.name:
            return None
        file = str(ROOT / self.mutant.module)
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file, self.mutant.source)
        )


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a text as if it were in the file."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        """The mutant's code."""
        code = compile(self.source, self.path, "exec")
        assert isinstance(code, CodeType)
        return code
