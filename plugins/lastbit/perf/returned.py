"""What timed calls returned, looked at: each result of the right kind, in memory of its own, with the judged bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lastbit.arrays import Arrays
from lastbit.case import Trial
from lastbit.perf.evidence import Codes
from lastbit.results import Result, in_place, results
from lastbit.verdict import Outcome, Verdict

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Returned:
    """The results of the calls of one sample, in the order of the calls."""

    #: Tensors of each call.
    tensors: tuple[tuple[Any, ...], ...]
    #: Calls whose bits are not the judged ones, and their bits.
    other: Mapping[int, Codes] = field(default_factory=dict)
    fault: Verdict | None = None


def wanted(trial: Trial, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Result, ...]:
    """The results that each call has to return."""
    return results(trial.kernel, trial.formats, shapes)


def examine(
    trial: Trial,
    border: Arrays,
    expected: Sequence[Result],
    raw: Sequence[Any],
    bits: Sequence[Any],
    given: Sequence[Mapping[str, Any]],
    judged: Sequence[Codes],
    taken: Sequence[Span],
) -> Returned:
    """What the calls returned (`raw`), each given the tensors `given` and to give the bits `judged`.

    `bits` are what is read in place of `raw`: the same on the CPU, copies by the timed stream on a device.

    The last call's result is read first, and nothing waits before: work that a kernel put off (to a thread, a stream, a
    lazy object) is not done yet, and its memory still holds poison. `taken` is memory that no result may lie in.
    """
    tensors: list[tuple[Any, ...]] = [() for _ in raw]
    other: dict[int, Codes] = {}
    for call in reversed(range(len(raw))):
        parts = _parts(trial, expected, raw[call], given[call])
        if parts is None:
            text = f"a timed call returned a {type(raw[call]).__name__}, expected {len(expected)} results"
            return Returned(tuple(tensors), fault=Verdict(Outcome.WRONG_STRUCTURE, text))
        for one, tensor in zip(expected, parts, strict=True):
            if misfit := border.misfit(tensor, one.shape, one.format, trial.device):
                text = f"a timed call returned a wrong thing: {misfit}"
                return Returned(tuple(tensors), fault=Verdict(Outcome.WRONG_STRUCTURE, text, where=one.name))
        tensors[call] = parts
        read = parts if bits is raw else _parts(trial, expected, bits[call], given[call]) or parts
        codes = tuple(border.codes(tensor, one.format) for one, tensor in zip(expected, read, strict=True))
        if not _same(codes, judged[call]):
            other[call] = codes
    text = "" if in_place(trial.kernel) else _shared(border, tensors, taken)
    fault = Verdict(Outcome.WRONG_STRUCTURE, text) if text else None
    return Returned(tuple(tensors), dict(reversed(other.items())), fault)


def _parts(trial: Trial, expected: Sequence[Result], result: Any, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The tensors that a call gave; None where it gave something else."""
    inside = in_place(trial.kernel)
    memory = [given.get(one.name) if one.name == "out" or one.name in inside else None for one in expected]
    if result is None and inside:
        result = (None,) * len(expected)
    returned = result if len(expected) > 1 else (result,)
    if not isinstance(returned, tuple) or len(returned) != len(expected):
        return None
    return tuple(own if part is None else part for part, own in zip(returned, memory, strict=True))


def _same(codes: Codes, judged: Codes) -> bool:
    return all(
        one is not None and other is not None and np.array_equal(one, other)
        for one, other in zip(codes, judged, strict=True)
    )


def _shared(border: Arrays, tensors: Sequence[tuple[Any, ...]], taken: Sequence[Span]) -> str:
    """Which memory is given twice, in words, or ""."""
    spans = [(border.span(tensor), True) for parts in tensors for tensor in parts]
    spans += [(span, False) for span in taken]
    spans = sorted(entry for entry in spans if entry[0][0] < entry[0][1])
    reach, reaching_is_result = 0, False
    for (low, high), is_result in spans:
        if low < reach and (is_result or reaching_is_result):
            return "a timed call returned memory that another result or an operand lies in; each result must be its own"
        if high > reach:
            reach, reaching_is_result = high, is_result
    return ""
