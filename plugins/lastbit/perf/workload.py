"""Workload, a kernel at a case as something to time: calls on changing copies, each result looked at afterwards."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lastbit import arrays, guards
from lastbit.errors import LastbitError
from lastbit.guards import Guarded
from lastbit.perf import samples
from lastbit.perf.evidence import Codes, Evidence, judged_again
from lastbit.perf.returned import Span, examine, wanted
from lastbit.perf.ring import Ring
from lastbit.perf.samples import Sample
from lastbit.results import in_place
from lastbit.scaled_operands import operand_names
from lastbit.verdict import Outcome, Verdict

#: Results with other bits than the judged ones that the law is asked about, of a kernel that does not promise to repeat
#: itself; each costs a judgement.
ASKED = 8


class FaultyError(LastbitError):
    """A timed call did not do what the judged one did: the kernel has no speed."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class Clock(Protocol):
    """Takes a sample on a device."""

    @property
    def target_ns(self) -> int:
        """How long a sample should last."""

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        """The sample of `run`; `freeze` is called when the timed work is submitted, before anything waits."""


@dataclass(frozen=True, slots=True)
class CpuClock:
    """Host clocks; results are read by the timing thread itself, at once."""

    threads: int = 1
    target_ns: int = samples.TARGET_NS

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        """The sample of `run`; `freeze` has nothing to do, for nothing is on its way."""
        return samples.timed(run, calls, self.threads)


@dataclass(frozen=True, slots=True)
class Turn:
    """Calls for somebody else's clock: what it times, and what is done with the results afterwards."""

    run: Callable[[], object]
    #: Raises FaultyError where a result is not the judged one.
    look: Callable[[], object]


class Workload:
    """A judged kernel, its ring of operands and its clock: takes samples, and holds every timed result to the judged.

    Raises FaultyError from `sample` when a timed call raises, returns another thing than promised, memory that is not
    its own, other bits than the law judged (unless the law accepts them and the contract does not promise to repeat),
    or changes an operand.
    """

    def __init__(self, found: Evidence, ring: Ring, clock: Clock, threads: int = 1) -> None:
        self.evidence, self.ring, self.clock, self.threads = found, ring, clock, threads
        self.trial = found.trials[0]
        self.accepted = 0
        self._border = arrays.of(self.trial.kernel.framework)
        shapes = {name: operand.codes.shape for name, operand in found.calls[0].operands.items()}
        self._expected = wanted(self.trial, shapes)
        self._names = operand_names(self.trial.kernel)
        self._spare: list[Guarded] = []
        #: Results of the first sample and of the one before, kept so that their memory is nobody else's: a kernel that
        #: takes some blocks in turn comes back to the first.
        self._first: tuple[Any, ...] = ()
        self._last: tuple[Any, ...] = ()

    @property
    def bytes_returned(self) -> int:
        """Bytes of the results of one call."""
        return sum(codes.nbytes for codes in self.evidence.calls[0].codes if codes is not None)

    def sample(self, calls: int) -> Sample:
        """`calls` calls, timed; their results are read, compared and spoilt afterwards, outside of the time."""
        places = self.ring.take(calls)
        raw: list[Any] = []
        frozen: list[Any] = []
        given, outs = self._given(places)
        sample = self._timed(given, raw, frozen)
        self._look(raw, frozen or raw, given, places, outs)
        return sample

    def turn(self, calls: int) -> Turn:
        """The same calls as those of a sample, for a clock that is not this workload's."""
        places = self.ring.take(calls)
        given, outs = self._given(places)
        raw: list[Any] = []
        return Turn(self._run(given, raw), lambda: self._look(raw, raw, given, places, outs))

    def sample_unseen(self, calls: int) -> Sample:
        """The same on data that no call has had, whose results nobody knows: they are not looked at."""
        places = self.ring.take(calls)
        for place in dict.fromkeys(places):
            self.ring.unseen(place)
        try:
            return self._timed(self._given(places)[0], [], [])
        finally:
            for place in dict.fromkeys(places):
                self.ring.renew(place, changed=True)

    def _given(self, places: list[int]) -> tuple[list[dict[str, Any]], list[Guarded]]:
        """The tensors of each call, and the memory that is given for its result."""
        outs = self._outs(len(places))
        given = [self.ring.tensors(place) for place in places]
        for tensors, out in zip(given, outs, strict=False):
            tensors["out"] = self._border.view(out.buffer, out.placement, out.format)
        return given, outs

    def _timed(self, given: list[dict[str, Any]], raw: list[Any], frozen: list[Any]) -> Sample:
        """Time a call for each of `given`; results are put into `raw`, and as a device leaves them into `frozen`."""
        run = self._run(given, raw)
        try:
            return self.clock.timed(run, len(given), lambda: frozen.extend(map(_copied, raw)))
        except Exception as error:
            text = f"a timed call raised {type(error).__name__}: {error}"
            raise FaultyError(Verdict(Outcome.CRASHED, text)) from error

    def _run(self, given: list[dict[str, Any]], raw: list[Any]) -> Callable[[], None]:
        plan = [self._arguments(tensors) for tensors in given]
        keep, kernel = raw.append, self.trial.kernel.run

        def run() -> None:
            for positional, keywords in plan:
                keep(kernel(*positional, **keywords))

        return run

    def _look(
        self, raw: list[Any], bits: list[Any], given: list[dict[str, Any]], places: list[int], outs: list[Guarded]
    ) -> None:
        """Hold every result to the judged one of its data; what is left is spoilt, and the copies renewed."""
        sets = [self.ring.holds[place] for place in places]
        judged: list[Codes] = [self.evidence.calls[turn].codes for turn in sets]
        found = examine(self.trial, self._border, self._expected, raw, bits, given, judged, self._taken(places))
        if found.fault is not None:
            raise FaultyError(found.fault)
        for call, codes in found.other.items():
            self._other_bits(sets[call], codes)
        own = in_place(self.trial.kernel)
        for place in dict.fromkeys(places):
            if name := self.ring.changed(place, own):
                raise FaultyError(Verdict(Outcome.WRONG_STRUCTURE, f"a timed call changed operand {name}", where=name))
        for out in outs:
            if guards.canary_damage(out, self._border.host(out.buffer)) is not None:
                raise FaultyError(Verdict(Outcome.WRONG_STRUCTURE, "a timed call wrote outside its result"))
            self._border.load(out.buffer, out.before)
        if not own and not outs:
            for parts in found.tensors:
                for one, tensor in zip(self._expected, parts, strict=True):
                    with contextlib.suppress(ValueError, RuntimeError):  # of a tensor that cannot be written
                        self._border.spoil(tensor, one.format)
            self._last = tuple(tensor for parts in found.tensors for tensor in parts)
            self._first = self._first or self._last
        for place in dict.fromkeys(places):
            self.ring.renew(place, changed=bool(own))

    def _other_bits(self, turn: int, codes: Codes) -> None:
        """Ask the law about bits that it has not judged."""
        promised = self.trial.contract.deterministic
        if not promised and self.accepted >= ASKED:
            return
        record = judged_again(self.evidence, turn, codes)
        if record.outcome is not Outcome.PASS:
            raise FaultyError(Verdict(record.outcome, f"a timed call: {record.reason}", where=record.where))
        if promised:
            text = "a timed call gave other bits than when it was judged, and the contract promises to repeat them"
            raise FaultyError(Verdict(Outcome.LAW_BROKEN, text))
        self.accepted += 1

    def _taken(self, places: list[int]) -> list[Span]:
        """Memory that no result may lie in: operands, and earlier results."""
        spans = [span for place in dict.fromkeys(places) for span in self.ring.spans(place)]
        return spans + [
            self._border.span(tensor) for tensor in {id(one): one for one in self._first + self._last}.values()
        ]

    def _arguments(self, tensors: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        keywords = {**tensors, **self.ring.calls[0].scalars}
        return [keywords.pop(name, None) for name in self._names], keywords

    def _outs(self, calls: int) -> list[Guarded]:
        """Memory for the results, of a kernel that takes it."""
        if "out" not in self.trial.kernel.features:
            return []
        layout = self.evidence.calls[0].layouts.get("out", "contiguous")
        first = self._expected[0]
        while len(self._spare) < calls:
            out = guards.guard_result(self._border, first.shape, first.format, layout, self.trial.device)
            self._spare.append(out)
        return self._spare[:calls]


def _copied(result: Any) -> Any:
    """A copy on the device, made by the timed stream: what it holds is what that stream had finished."""
    if isinstance(result, tuple):
        return tuple(_copied(part) for part in result)
    return result.clone() if hasattr(result, "clone") and type(result).__name__ == "Tensor" else result
