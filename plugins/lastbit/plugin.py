"""The pytest plugin: hooks and fixtures only; what they do is in walk.py, loaded when the law is walked."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from lastbit import hookspecs
from lastbit.options import OPTIONS, plugin_arguments

if TYPE_CHECKING:
    from lastbit.case import Check, Trial
    from lastbit.walk import Walk

#: Where a session's walk is kept, once it has one.
WALK: "pytest.StashKey[Walk]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option to the command line and to the ini file."""
    group = parser.getgroup("lastbit", "lastbit: numerical kernels, right to the last bit that they promise")
    for name, keywords in plugin_arguments():
        group.addoption(name, **keywords)
    for option in OPTIONS:
        default: Any = {"args": [], "bool": False}.get(option.kind, "")
        parser.addini(f"lastbit_{option.name}", option.help, type=option.kind, default=default)  # type: ignore[arg-type]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare `pytest_lastbit_kernels`."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything else happens; without any, nothing is loaded until the law is collected."""
    names = [f"lastbit_{option.name}" for option in OPTIONS]
    if any(config.getoption(name) is not None or config.getini(name) for name in names):
        _walk(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """The controller of pytest-xdist collects nothing, but keeps the account."""
    _walk(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each trial for a test that takes `lastbit_trial`."""
    if "lastbit_trial" in metafunc.fixturenames:
        _walk(metafunc.config).parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the ops of which no kernel was found, unless nothing else of lastbit's is left."""
    if WALK in config.stash:
        config.stash[WALK].leave_out_idle(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Time what was found right, when all is judged: here, one after another, whatever workers did before."""
    done = yield
    if WALK in session.config.stash and session.config.stash[WALK].is_to_be_timed:
        from lastbit.speed_phase import run

        run(session, session.config.stash[WALK])
    return done


@pytest.fixture
def lastbit_judge(request: pytest.FixtureRequest) -> "Callable[[Check, Trial], None]":
    """Judges a trial, keeps its record, and ends the test as the outcome says."""

    def judge(check: "Check", trial: "Trial") -> None:
        _walk(request.config).judge(request.node, check, trial)

    return judge


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report of a judged test carry its record, so that it reaches the controller of pytest-xdist."""
    report = yield
    if call.when == "call" and WALK in item.config.stash:
        item.config.stash[WALK].send(item, report)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker of pytest-xdist had left to say."""
    _walk(node.config).receive_plan(getattr(node, "workeroutput", {}).get("lastbit"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the account and correct the exit status."""
    if WALK in session.config.stash:
        session.config.stash[WALK].finish(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the account."""
    if WALK in config.stash:
        config.stash[WALK].summary(terminalreporter)


def _walk(config: pytest.Config) -> "Walk":
    """The session's walk, begun when it is first needed; an option's wrong value ends pytest with status 2."""
    if WALK not in config.stash:
        from lastbit.errors import UsageError
        from lastbit.walk import start

        try:
            config.stash[WALK] = start(config)
        except UsageError as error:
            pytest.exit(f"lastbit: {error}", returncode=2)
    return config.stash[WALK]
