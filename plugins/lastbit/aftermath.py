"""What is looked at after a call: the result's structure and memory, and every byte that was not the kernel's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit import guards
from lastbit.arrays import Arrays
from lastbit.guards import Damage, Guarded
from lastbit.verdict import Outcome, Verdict

#: Earlier results kept alive, so that their memory cannot be handed out again: of every kernel the newest, for kernels
#: take turns at each case.
KEPT = 64
#: Bytes of earlier results kept at most; the newest is kept whatever its size.
KEPT_BYTES = 2**27


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call was to return, and the memory that it was given."""

    #: Name of the kernel.
    kernel: str
    shape: tuple[int, ...]
    format: str
    device: str
    operands: tuple[Guarded, ...]
    #: The memory that the result was to be written to, if the kernel takes one; an operand, if it is changed in place.
    out: Guarded | None
    #: The tensors that the kernel was called with, by name.
    given: Mapping[str, Any]
    #: Which of the kernel's results this is.
    name: str = "out"

    @property
    def in_place(self) -> bool:
        """Whether the result is an operand that was changed: its memory is new data's after the next call."""
        return self.out is not None and self.out.name != "out"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a kernel did wrong beside its numbers."""

    reason: str
    where: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """An earlier result: the tensor itself, and the bit patterns that it held when it was returned."""

    border: Arrays
    tensor: Any
    format: str
    device: str
    codes: NDArray[Any]
    #: Addresses of its first byte and after its last.
    span: tuple[int, int]


_kept: dict[tuple[str, str], Kept] = {}


def examine(border: Arrays, wanted: Wanted, result: Any) -> tuple[NDArray[Any] | None, list[Fault]]:
    """The result's bit patterns, if it has any, and what the call did wrong, worst first."""
    faults = _touched(border, wanted)
    if result is None and wanted.out is not None:
        result = wanted.out.tensor
    misfit = border.misfit(result, wanted.shape, wanted.format, wanted.device)
    if misfit:
        named = "it returned a wrong thing" if wanted.name == "out" else f"what it returned as {wanted.name} is wrong"
        reason = "it returned None" if result is None else f"{named}: {misfit}"
        return None, [Fault(reason, wanted.name), *faults]
    codes = border.codes(result, wanted.format)
    faults += _borrowed(border, wanted, result) + _unwritten(wanted, codes)
    if wanted.in_place:
        return codes, faults
    faults += _overtaken(wanted)
    _keep(wanted, Kept(border, result, wanted.format, wanted.device, codes, border.span(result)))
    return codes, faults


def verdict(faults: list[Fault]) -> Verdict | None:
    """The faults as one verdict, the first one first; None if there are none."""
    if not faults:
        return None
    return Verdict(Outcome.WRONG_STRUCTURE, "; ".join(fault.reason for fault in faults), where=faults[0].where)


def _touched(border: Arrays, wanted: Wanted) -> list[Fault]:
    faults = []
    for guarded in (*wanted.operands, *([wanted.out] if wanted.out is not None else [])):
        if border.geometry(wanted.given[guarded.name]) != border.geometry(guarded.tensor):
            text = f"it changed the shape, strides, type or memory of the tensor {guarded.name} in place"
            faults.append(Fault(text, guarded.name))
    for operand in wanted.operands:
        damage = guards.damage(operand, border.host(operand.buffer))
        if damage is not None:
            faults.append(_fault(operand, damage, "operand"))
    if wanted.out is not None:
        damage = guards.canary_damage(wanted.out, border.host(wanted.out.buffer))
        if damage is not None:
            faults.append(_fault(wanted.out, damage, "result"))
    return faults


def _fault(guarded: Guarded, damage: Damage, kind: str) -> Fault:
    if damage.index is not None:
        where = f"{guarded.name}{list(damage.index)}"
        return Fault(f"it changed {kind} {guarded.name}: {damage.count} bytes, first at element {damage.index}", where)
    side = f"{-damage.offset} bytes before" if damage.offset < 0 else f"at byte {damage.offset} from"
    text = f"it wrote outside {kind} {guarded.name}: {damage.count} bytes, first {side} its first element"
    return Fault(text, guarded.name)


def _borrowed(border: Arrays, wanted: Wanted, result: Any) -> list[Fault]:
    """Whose memory the result lies in, if it is not its own."""
    low, high = border.span(result)
    if low == high:
        return []
    for operand in wanted.operands:
        if _overlap((low, high), border.span(operand.tensor)):
            text = f"its result shares memory with operand {operand.name}; it must be memory of its own"
            return [Fault(text, wanted.name)]
    if wanted.out is not None:
        same = border.span(wanted.out.tensor) == (low, high)
        text = f"it was given memory for its result ({wanted.out.name}) and returned another tensor"
        return [] if same else [Fault(text, wanted.name)]
    for kept in _kept.values():
        if kept.device == wanted.device and _overlap((low, high), kept.span):
            return [Fault("it returned the memory of an earlier result, in use still, as its new result", wanted.name)]
    return []


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _unwritten(wanted: Wanted, codes: NDArray[Any]) -> list[Fault]:
    """What was in memory before the call, in formats where nothing else makes those bit patterns."""
    given = (*wanted.operands, wanted.out) if wanted.in_place and wanted.out is not None else wanted.operands
    if wanted.format in guards.TELLTALE:
        left = codes == guards.poison(wanted.format)
        if left.any() and not any(_holds(operand, guards.poison(operand.format)) for operand in given):
            return [_found(left, "lastbit's poison", "they were never written, or it read outside an operand")]
    if wanted.format in guards.WIPED_TELLTALE:
        wiped = int.from_bytes(bytes([guards.WIPED]) * codes.itemsize)
        left = codes == wiped
        if left.any() and not any(_may_give(operand, wanted.format, wiped) for operand in given):
            return [_found(left, "uninitialised memory", "they were never written")]
    return []


def _found(left: NDArray[np.bool_], what: str, why: str) -> Fault:
    index = tuple(int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
    text = f"its result holds {what} at {int(left.sum())} of {left.size} elements, first {index}: {why}"
    return Fault(text, str(index))


def _may_give(operand: Guarded, format: str, code: int) -> bool:
    """Whether the operand holds the code, or a NaN whose payload a conversion to `format` could make it."""
    if operand.format == format:
        return _holds(operand, code)
    if operand.format not in guards.TELLTALE or not np.isnan(_values(format, np.array([code]))).all():
        return False
    dtype = np.dtype(f"u{operand.placement.itemsize}")
    return bool(np.isnan(_values(operand.format, operand.placement.view(operand.before, dtype))).any())


def _values(format: str, codes: NDArray[Any]) -> NDArray[np.float64]:
    from lastbit.references.formats import Format

    return Format.of(format).decode(codes)


def _holds(operand: Guarded, code: int) -> bool:
    dtype = np.dtype(f"u{operand.placement.itemsize}")
    return bool((operand.placement.view(operand.before, dtype) == code).any())


def _overtaken(wanted: Wanted) -> list[Fault]:
    """Whether the kernel's earlier result is no longer what it was when it was returned."""
    kept = _kept.get((f"{wanted.kernel} {wanted.name}", wanted.device))
    if kept is None or np.array_equal(kept.border.codes(kept.tensor, kept.format), kept.codes):
        return []
    return [Fault("the result of its earlier call has changed since", wanted.name)]


def _keep(wanted: Wanted, kept: Kept) -> None:
    key = (f"{wanted.kernel} {wanted.name}", wanted.device)
    _kept.pop(key, None)
    _kept[key] = kept
    while len(_kept) > KEPT or (len(_kept) > 1 and sum(entry.codes.nbytes for entry in _kept.values()) > KEPT_BYTES):
        del _kept[next(iter(_kept))]
