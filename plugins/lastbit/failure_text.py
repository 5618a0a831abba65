"""The text of a failure: what, where, got, want, and what the wrong output resembles."""

from math import copysign, isinf, isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lastbit.references.formats import Format

Floats = NDArray[np.float64]


def place(flat: int, shape: tuple[int, ...]) -> str:
    """The index of the `flat`-th element of an array of `shape`, as "(1, 3)"."""
    return str(tuple(int(i) for i in np.unravel_index(flat, shape))) if shape else "()"


def number(value: float) -> str:
    """`value` with as many digits as float64 has; integers without a fraction, -0 with its sign."""
    if value == 0:
        return "-0" if copysign(1, value) < 0 else "0"
    return repr(float(value)) if not float(value).is_integer() or abs(value) >= 1e16 else str(int(value))


def element(what: str, where: str, got: float, want: float) -> str:
    """The first line of a failure: "max error 18.45 ulp at (1, 1): got 0.0390625, want 0.03455829620361328"."""
    return f"{what} at {where}: got {number(got)}, want {number(want)}"


def coded(fmt: "Format", code: int | np.unsignedinteger) -> str:
    """A value of `fmt` with its bits: "0.0390625 (0x3d20)"."""
    return f"{number(float(fmt.decode(np.array([code], fmt.code_dtype))[0]))} ({int(code):#x})"


def nearest(fmt: "Format", hi: float, lo: float, overflow: str | None = None) -> str:
    """An exact value with the bits of the value of `fmt` nearest to it: "0.03455829620361328 (nearest 0x3d0e)"."""
    if isnan(hi) and not fmt.has_nan:
        return number(hi)
    return f"{number(hi)} (nearest {int(fmt.encode(np.array([hi]), np.array([lo]), overflow=overflow)[0]):#x})"


def class_name(value: float) -> str:
    """ "NaN", "infinity", "zero" or "a finite value"."""
    return "NaN" if isnan(value) else "infinity" if isinf(value) else "zero" if value == 0 else "a finite value"


def share(count: int, size: int) -> str:
    """How many elements are concerned: "3 of 64 elements"."""
    return f"{count} of {size} elements" if size != 1 else "the only element"


def diagnose(y: Floats, want: Floats, wrong: NDArray[np.bool_]) -> str:
    """What the wrong output `y` resembles, given the right one and which elements are wrong: "" or a clause.

    Looks for a whole that is zero, NaN, one value, doubled, halved or negated; transposed, shifted, or with its rows or
    columns in another order; and for wrong elements in one row or column or the last ones only. A hint, no verdict.
    """
    if y.size < 2:
        return ""
    if y.ndim < 2:
        return _whole(y, want)
    # Elements that are only rounded wrongly resemble any neighbour that is close to them: they moved nowhere.
    in_place = 4 * np.count_nonzero(wrong) <= wrong.size or _same(y, want)
    return _whole(y, want) or ("" if in_place else _moved(y, want)) or _located(wrong)


def _same(a: Floats, b: Floats) -> bool:
    """Whether arrays agree to 2^-4, NaN with NaN: close enough to know a shape, far enough to see through rounding."""
    if a.shape != b.shape:
        return False
    some = np.linspace(0, a.size - 1, min(a.size, 1024)).astype(np.int64)  # most guesses are refused here
    return all(bool(np.all(_close(part, other))) for part, other in ((a.flat[some], b.flat[some]), (a, b)))


def _close(a: Floats, b: Floats) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        size = np.abs(b[np.isfinite(b)])
        floor = float(size.mean()) * 2.0**-8 if size.size else 0.0
        near: NDArray[np.bool_] = (np.abs(a - b) <= np.abs(b) * 2.0**-4 + floor) | (a == b)
        return near | (np.isnan(a) & np.isnan(b))


def _whole(y: Floats, want: Floats) -> str:
    if not y.any():
        return "the output is all zeros"
    if np.isnan(y).all():
        return "the output is all NaN"
    if bool(np.all(y == y.flat[0])) and not bool(np.all(want == want.flat[0])):
        return f"the output is {number(float(y.flat[0]))} everywhere"
    with np.errstate(all="ignore"):
        for factor, name in ((2.0, "twice"), (0.5, "half"), (-1.0, "the negative of")):
            if _same(y, want * factor):
                return f"the output is {name} the right one"
    return ""


def _moved(y: Floats, want: Floats) -> str:
    if y.shape[-1] == y.shape[-2] and _same(y, np.swapaxes(want, -1, -2)):
        return "the output is the transpose of the right one"
    if y.shape[-1] != y.shape[-2] and _same(y.reshape(-1), np.swapaxes(want, -1, -2).reshape(-1)):
        return "the output holds the transpose of the right one in memory"
    for axis, name in ((-2, "rows"), (-1, "columns")):
        for shift in (1, -1):
            if y.shape[axis] > 1 and _same(y, np.roll(want, shift, axis)):
                return f"the output is the right one with its {name} moved by {shift:+d}"
    if y.ndim == 2:
        for axis, name in ((0, "rows"), (1, "columns")):
            a, b = (np.moveaxis(matrix, axis, 0) for matrix in (y, want))
            if _same(a[np.argsort(a[:, 0])], b[np.argsort(b[:, 0])]):
                return f"the output is the right one with its {name} in another order"
    return ""


def _located(wrong: NDArray[np.bool_]) -> str:
    for axis, name in ((-2, "row"), (-1, "column")):
        other = tuple(i for i in range(wrong.ndim) if i != wrong.ndim + axis)
        lines = np.flatnonzero(wrong.any(axis=other))
        length = wrong.shape[axis]
        if lines.size == 1 and length > 2:
            return f"only {name} {int(lines[0])} of {length} is wrong"
        if 0 < lines.size < length and lines[0] == length - lines.size:
            return f"only the last {lines.size} of {length} {name}s are wrong"
    return ""
