"""Speed as tests of a pytest session: made when all results are judged, run one after another in the controller."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lastbit.choices import Options
from lastbit.errors import LastbitError, UsageError
from lastbit.session_texts import item_id, near

if TYPE_CHECKING:
    from lastbit.perf.phase import Standards, Timed
    from lastbit.perf.sides import Side
    from lastbit.verdict import Record
    from lastbit.walk import Walk

#: What the tests' ids begin with.
PLACE = "lastbit-speed"


def check(config: pytest.Config, options: Options) -> None:
    """Raise UsageError where speeds could not be judged in the end: before anything is run."""
    if config.getoption("benchmark_only", False):
        raise UsageError(
            "--benchmark-only leaves out what must be right before it has a speed: give --lastbit-perf alone"
        )
    if options.perf_against:
        from lastbit.perf.sides import kind

        with _own_words():
            kind(options.perf_against, _sources(options, config.rootpath), config.rootpath)


def run(session: pytest.Session, walk: "Walk") -> None:
    """One test for each timing, run here and now; a base that cannot be loaded is a problem of the run."""
    from lastbit.perf.lock import held
    from lastbit.perf.phase import unheard

    devices = sorted({record.device for record in walk.records.values() if record.outcome.judged})
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_one_thread())
            for device in devices:
                stack.enter_context(held(device))
            given = {} if walk.options.perf_against else {device: _standards(device, walk) for device in devices}
            items = _items(session, walk, devices, given, stack)
        except LastbitError as error:
            walk.problems.append(f"no speed was judged: {error}")
            return
        session.testscollected += len(items)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    _keep(walk, given)
    why = unheard(tuple(walk.records.values()))
    if why:
        walk.remarks.append(why)


class Place(pytest.Collector):
    """Where the tests of speed hang; it is not collected, for what there is to time is known last."""

    def collect(self) -> list[pytest.Item]:
        """Nothing."""
        return []


def _standards(device: str, walk: "Walk") -> "Standards":
    """What speeds are held to on the device; limits that are guesses are told."""
    from lastbit.perf.phase import standards

    given = standards(device, walk.options.golden)
    if given.limits.busy:
        walk.remarks.append(f"limits of {device}: {given.limits.guesses}")
    return given


def _keep(walk: "Walk", given: "Mapping[str, Standards]") -> None:
    """Write what was measured beside run.jsonl, as `lastbit golden speed` does, for it may be adopted."""
    from lastbit.perf.phase import write

    try:
        path = write(walk.options.report, given)
    except OSError as error:
        walk.problems.append(f"speeds cannot be written: {error}")
    else:
        said = {record.golden.partition(":")[0] for record in walk.records.values() if record.timing is not None}
        if path and said - {"", "kept"}:
            walk.remarks.append(f"to adopt speeds: lastbit golden accept {near(path)} KEY-GLOB --reason WHY")


def _items(
    session: pytest.Session,
    walk: "Walk",
    devices: list[str],
    given: "Mapping[str, Standards]",
    stack: contextlib.ExitStack,
) -> list[pytest.Function]:
    from lastbit.perf import phase

    pairs = _pairs(walk, session.config.rootpath, stack)
    place = Place.from_parent(session, name=PLACE, nodeid=PLACE)
    items = []
    for device in devices:
        for one in phase.everything(pairs, device, walk.options.seed % 2**31):
            test = _test(one, walk, given.get(device))
            name = f"speed[{item_id(one.check, one.trial)}]"
            items.append(pytest.Function.from_parent(place, name=name, callobj=test))
    return items


def _pairs(walk: "Walk", root: Path, stack: contextlib.ExitStack) -> "list[tuple[Side | None, Side]]":
    """Each kernel of the run beside its base, if there is to be one."""
    from lastbit.perf.sides import match, named, side

    judged = {record.kernel for record in walk.records.values() if record.outcome.judged}
    heads = [side(kernel) for kernel in walk.kernels().kernels if kernel.name in judged]
    against = walk.options.perf_against
    if not against:
        return [(None, head) for head in heads]
    with _own_words():
        bases = stack.enter_context(named(against, _sources(walk.options, root), root))
        found = match(bases, heads)
    for names, what in ((found.gone, f"only in {against}"), (found.new, f"not in {against}")):
        if names and len(names) < 20:
            walk.remarks.append(f"{what}, so not timed: {', '.join(names)}")
        elif names:
            walk.remarks.append(f"{what}, so not timed: {len(names)} kernels")
    return list(found.pairs)


def _test(one: "Timed", walk: "Walk", given: "Standards | None") -> Callable[[pytest.FixtureRequest], None]:
    from lastbit.perf.phase import timed

    def speed(request: pytest.FixtureRequest) -> None:
        """The kernel is as fast as it was."""
        record = timed(one, tuple(walk.records.values()), given)
        walk.settle(request.node, _shown(request, one, record))

    return speed


def _shown(request: pytest.FixtureRequest, one: "Timed", record: "Record") -> "Record":
    """The record, which pytest-benchmark shows and stores, too, where it is installed and not switched off.

    Its own rounds are shown and nothing more: the verdict is made already, of paired samples.
    """
    session = getattr(request.config, "_benchmarksession", None)
    if session is None or session.disabled or session.skip or not (record.timing and record.timing.ratio):
        return record
    from lastbit.perf.shown import show
    from lastbit.perf.workload import FaultyError

    try:
        show(request.getfixturevalue("benchmark"), one, record)
    except FaultyError as error:
        return replace(record, outcome=error.verdict.outcome, reason=error.verdict.reason)
    return record


def _sources(options: Options, root: Path) -> list[str]:
    """The sources of kernels that another state of the root directory has, too: modules, and files that lie in it."""
    paths = [os.path.relpath(source, root) if os.path.isabs(source) else source for source in options.kernels]
    return [path for path in paths if not path.startswith("..")]


@contextlib.contextmanager
def _own_words() -> Iterator[None]:
    """Name options as pytest has them."""
    try:
        yield
    except UsageError as error:
        text = str(error).replace(" --kernels", " --lastbit-kernels").replace("--kernel ", "--lastbit-only ")
        raise UsageError(f"--lastbit-perf-against: {text}") from error


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are asked meanwhile compute with one thread."""
    from lastbit.perf import threads

    before = {name: os.environ.get(name) for name in threads.VARIABLES}
    threads.announce(1)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
