"""The guarded call: a kernel is run as if it were hostile, and what it returned comes back as bit patterns."""

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastbit import aftermath, ambient, arrays, guards, results
from lastbit.arrays import Arrays, UnavailableError
from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.guards import Guarded
from lastbit.results import RESULT
from lastbit.scaled_operands import operand_names
from lastbit.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.references.data import Operand

#: Texts of errors by which a library says that it does not offer something: PyTorch's dispatcher, NumPy's ufuncs,
#: Triton's code generator.
UNSUPPORTED_TEXTS = (
    "not implemented for",
    "did not contain a loop with signature",
    "not supported in this architecture",
)
#: Characters of an error message that a verdict keeps.
MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Obtained:
    """What a guarded call gave."""

    #: Bit patterns in row-major logical order; empty when the call gave none.
    codes: NDArray[Any]
    #: The fault that the kernel committed, or None: its values may then be judged.
    fault: Verdict | None = None
    #: What it printed, warned of, or left changed.
    notes: dict[str, str] = field(default_factory=dict)
    #: Bit patterns of the further results, in the order of results.results; None for one that is no such array.
    others: tuple[NDArray[Any] | None, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's shape."""
        return self.codes.shape

    @property
    def second(self) -> NDArray[Any] | None:
        """Bit patterns of the second result, of a kernel that has one."""
        return self.others[0] if self.others else None

    @property
    def lse(self) -> NDArray[Any] | None:
        """Bit patterns of the log-sum-exp, of a kernel with feature "lse"."""
        return self.second


@dataclass(frozen=True, slots=True)
class Prepared:
    """Operands of a call in the kernel's framework, guarded; `refill` gives them other data at the same addresses."""

    operands: dict[str, Guarded]
    layouts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Ran:
    """How a kernel's run ended."""

    result: Any
    #: Why there is no result, or None.
    stopped: Verdict | None
    #: Settings that it changed, in plain words.
    changed: list[str]
    notes: dict[str, str]


def call(
    trial: Trial,
    operands: "Mapping[str, Operand]",
    *,
    layouts: Mapping[str, str] | None = None,
    scalars: Mapping[str, Any] | None = None,
) -> Obtained:
    """What the trial's kernel returns for `operands`, guarded, at fresh addresses.

    `layouts` (layouts.LAYOUTS) by operand name, "out" included; those not named are contiguous. `scalars` are passed as
    keywords. With `trial.settings["isolate"]` the kernel runs in a process of its own.

    Whatever the kernel does is in the result, as a fault. Raises UsageError for an unknown layout, KeyboardInterrupt
    when the user stops the run.
    """
    return series(trial, (operands,), layouts=layouts, scalars=scalars)[0]


def series(
    trial: Trial,
    data: "Sequence[Mapping[str, Operand]]",
    *,
    layouts: Mapping[str, str] | None = None,
    scalars: Mapping[str, Any] | None = None,
) -> tuple[Obtained, ...]:
    """`call` for one set of operands after the other, all at the same addresses: shapes and formats are the same.

    Raises UsageError where they are not, and as `call`.
    """
    if "series" in trial.settings:  # a function that stands in for this one: perf.evidence listens, and answers
        answers: tuple[Obtained, ...] = trial.settings["series"](trial, data, layouts=layouts, scalars=scalars)
        return answers
    if trial.settings.get("isolate"):
        from lastbit.isolate import series_isolated

        return series_isolated(trial, data, layouts=layouts, scalars=scalars)
    return series_here(trial, data, layouts=layouts, scalars=scalars)


def series_here(
    trial: Trial,
    data: "Sequence[Mapping[str, Operand]]",
    *,
    layouts: Mapping[str, str] | None = None,
    scalars: Mapping[str, Any] | None = None,
) -> tuple[Obtained, ...]:
    """`series`, in this process whatever the settings say."""
    try:
        prepared = prepare(trial, data[0], layouts=layouts)
        obtained = [invoke(trial, prepared, scalars=scalars)]
        for operands in data[1:]:
            prepared = refill(trial, prepared, operands)
            obtained.append(invoke(trial, prepared, scalars=scalars))
    except UnavailableError as error:
        return (_nothing(Outcome.UNSUPPORTED, str(error)),) * len(data)
    except (RuntimeError, MemoryError) as error:
        reason = f"lastbit could not set up the call on {trial.device}: {_told(error)}"
        return (_nothing(Outcome.ERROR, reason),) * len(data)
    return tuple(obtained)


def prepare(trial: Trial, operands: "Mapping[str, Operand]", *, layouts: Mapping[str, str] | None = None) -> Prepared:
    """The operands as guarded tensors of the kernel's framework, each in its layout, at fresh addresses.

    Raises UnavailableError and UsageError as guards.guard.
    """
    chosen = layouts or {}
    if trial.kernel.op not in RESULT:
        raise UnavailableError(f"this version of lastbit calls {', '.join(RESULT)} kernels, not {trial.kernel.op}")
    unknown = chosen.keys() - operands.keys() - {"out"}
    if unknown:
        raise UsageError(f"layout of {', '.join(sorted(unknown))}: the operands are {', '.join(operands)} and out")
    border = arrays.of(trial.kernel.framework)
    placed = {
        name: guards.guard(border, name, operand, chosen.get(name, "contiguous"), trial.device)
        for name, operand in operands.items()
    }
    return Prepared(placed, chosen)


def refill(trial: Trial, prepared: Prepared, operands: "Mapping[str, Operand]") -> Prepared:
    """`prepared` with the data of `operands` in it, at the same addresses.

    Raises UsageError when an operand has another name, shape or format.
    """
    border = arrays.of(trial.kernel.framework)
    if operands.keys() != prepared.operands.keys():
        raise UsageError(f"operands {', '.join(operands)} cannot replace {', '.join(prepared.operands)}")
    return Prepared(
        {name: _refilled(border, old, operands[name]) for name, old in prepared.operands.items()}, prepared.layouts
    )


def invoke(trial: Trial, prepared: Prepared, *, scalars: Mapping[str, Any] | None = None) -> Obtained:
    """What the trial's kernel returns for prepared operands, guarded.

    Raises UnavailableError and UsageError as guards.guard_result, where the kernel takes memory for its result.
    """
    border = arrays.of(trial.kernel.framework)
    shapes = {name: guarded.placement.shape for name, guarded in prepared.operands.items()}
    expected = results.results(trial.kernel, trial.formats, shapes)
    shape, format = expected[0].shape, expected[0].format
    lent = list(prepared.operands.values())
    out = None
    if "out" in trial.kernel.features:
        out = guards.guard_result(border, shape, format, prepared.layouts.get("out", "contiguous"), trial.device)
        lent.append(out)
    # Tensors of this call alone: a kernel may change the shape or strides of one in place.
    given = {guarded.name: border.view(guarded.buffer, guarded.placement, guarded.format) for guarded in lent}
    ran = _run(trial, border, given, scalars or {}, lambda: border.scrub(shape, format, trial.device))
    if ran.stopped is not None:
        return Obtained(_NO_CODES, ran.stopped, ran.notes)
    wanted = _wanted(trial, prepared, expected, out, given)
    returned = ran.result if len(wanted) > 1 else (ran.result,)
    if returned is None and results.in_place(trial.kernel):
        returned = (None,) * len(wanted)
    if not (isinstance(returned, tuple) and len(returned) == len(wanted)):
        what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
        text = f"it returned {what}, expected ({', '.join(one.name for one in wanted)})"
        text += ", a tuple" if isinstance(returned, list) else ""
        return Obtained(_NO_CODES, Verdict(Outcome.WRONG_STRUCTURE, text), ran.notes)
    codes: list[NDArray[Any] | None] = []
    faults: list[aftermath.Fault] = []
    try:
        for one, result in zip(wanted, returned, strict=True):
            found, more = aftermath.examine(border, one, result)
            codes.append(found)
            faults += [fault for fault in more if fault not in faults]
    except RuntimeError as error:
        reason = f"its result could not be read from {trial.device}: {_told(error)}"
        return Obtained(_NO_CODES, Verdict(Outcome.CRASHED, reason), ran.notes)
    faults += [aftermath.Fault(text) for text in ran.changed]
    first = _NO_CODES if codes[0] is None else codes[0]
    return Obtained(first, aftermath.verdict(faults), ran.notes, tuple(codes[1:]))


def _wanted(
    trial: Trial,
    prepared: Prepared,
    expected: tuple[results.Result, ...],
    out: Guarded | None,
    given: Mapping[str, Any],
) -> list[aftermath.Wanted]:
    """What each of the kernel's results has to be."""
    kernel, inside = trial.kernel, results.in_place(trial.kernel)
    memory = {"out": out} | {name: prepared.operands[name] for name in inside}
    kept = tuple(guarded for name, guarded in prepared.operands.items() if name not in inside)
    return [
        aftermath.Wanted(kernel.name, one.shape, one.format, trial.device, kept, memory.get(one.name), given, one.name)
        for one in expected
    ]


_NO_CODES: NDArray[Any] = np.empty(0, np.uint8)


def _nothing(outcome: Outcome, reason: str) -> Obtained:
    return Obtained(_NO_CODES, Verdict(outcome, reason))


def _refilled(border: Arrays, old: Guarded, new: "Operand") -> Guarded:
    if new.codes.shape != old.placement.shape or new.format != old.format:
        raise UsageError(
            f"operand {old.name} is {new.format} {new.codes.shape}, expected {old.format} {old.placement.shape}: "
            "other data at the same address has the same shape and format"
        )
    content = guards.filled(old.name, new, old.placement)
    border.load(old.buffer, content)
    return Guarded(old.name, old.format, old.placement, old.buffer, content, old.tensor)


def _run(
    trial: Trial, border: Arrays, given: Mapping[str, Any], scalars: Mapping[str, Any], scrub: Callable[[], None]
) -> _Ran:
    keywords: dict[str, Any] = {**given, **scalars}
    positional = [keywords.pop(name, None) for name in operand_names(trial.kernel)]  # a plain operand has no scale
    result, stopped = None, None
    stdout, stderr = io.StringIO(), io.StringIO()
    border.synchronize(trial.device)
    before = ambient.observe()
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        ambient.wiped_memory(),
        ambient.no_exit(),
    ):
        warnings.simplefilter("always")
        scrub()  # last, so that nothing takes the poisoned memory before the kernel does
        try:
            result = trial.kernel.run(*positional, **keywords)
            border.synchronize(trial.device)
        except KeyboardInterrupt:
            ambient.settle(before)
            raise
        except BaseException as error:  # a kernel that calls sys.exit() or pytest.skip() has crashed, too
            stopped = _stopped(error)
    changed, notes = ambient.settle(before)
    return _Ran(result, stopped, changed, notes | ambient.spoken(stdout, stderr, warned))


def _stopped(error: BaseException) -> Verdict:
    text = str(error)
    unsupported = isinstance(error, NotImplementedError) or any(part in text for part in UNSUPPORTED_TEXTS)
    if isinstance(error, Exception) and unsupported:
        return Verdict(Outcome.UNSUPPORTED, text or "the kernel raised NotImplementedError")
    return Verdict(Outcome.CRASHED, _told(error))


def _told(error: BaseException) -> str:
    """The exception's type and text, and the innermost place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    said = "".join(traceback.format_exception_only(error)).strip()
    return f"raised {said if len(said) <= MESSAGE else f'{said[: MESSAGE // 2]} … {said[-MESSAGE // 2 :]}'}{place}"
