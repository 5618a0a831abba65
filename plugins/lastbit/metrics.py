"""How far an output lies from its truth: ErrorStats, and the elements to look at, in one pass of cache-sized pieces."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.errors import UsageError
from lastbit.histogram import Pairs, away_from_zero, histogram
from lastbit.verdict import ErrorStats

if TYPE_CHECKING:
    from lastbit.references.formats import Format
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]
Codes = NDArray[np.unsignedinteger]

#: Elements a piece: fewer leave a cache earlier and cost more in the interpreter, for whose lock the threads wait.
#: 2048 x 2048 bf16 on two cores (2 MiB of second-level cache each): 38 ms at 2^15, 22 at 2^16, 19 at 2^17.
PIECE = 1 << 17
#: Elements that the quantiles are taken from: the 99 % quantile of 2^15 draws is known to 0.06 % of rank.
SAMPLE = 1 << 15
#: Elements from which on another thread pays: 5 ms of work, against 0.1 ms to start it.
WORTH_A_THREAD = 1 << 20

_SIGN = np.int64(-(2**63))
_EXPONENT = np.int64(0x7FF << 52)
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True)
class Measured:
    """The error of one output, element by element against what is allowed; indices are flat, in C order."""

    stats: ErrorStats
    #: Elements whose error is over what is allowed, or is not a number; ascending.
    suspects: NDArray[np.int64]
    #: The element of largest error / allowed error among those with a finite error; -1 if there is none.
    worst: int
    histogram: Pairs


@dataclass(slots=True)
class _Tally:
    """Running maxima and sums over the pieces."""

    finite: int = 0
    max_ulp: float = 0.0
    max_kappa: int = 0
    max_rel: float = 0.0
    utilisation: float = -1.0
    worst: int = -1
    sum_error: float = 0.0
    sum_signed: float = 0.0
    sum_squares: float = 0.0
    inexact: int = 0
    #: Indices of errors over what is allowed, or not numbers.
    suspects: list[NDArray[np.int64]] = field(default_factory=list)
    #: Errors in ulp of every so many elements, for the quantiles; with a minus where they point to zero.
    ulps: list[Floats] = field(default_factory=list)


class _Buffers:
    """Scratch memory of one pass, so that no piece allocates."""

    __slots__ = ("bits", "differs", "error", "rounded", "scratch", "signed")

    def __init__(self, size: int) -> None:
        self.signed, self.error, self.scratch, self.rounded = (np.empty(size) for _ in range(4))
        self.bits = np.empty(size, np.int64)
        self.differs = np.empty(size, bool)


def measure(
    codes: Codes, fmt: "Format", truth: "Truth", allowed: Floats | None = None, sigma: Floats | None = None
) -> Measured:
    """The errors of `codes`, read as `fmt`, against `truth`, and against `allowed` and `sigma` where given.

    `allowed` and `sigma` broadcast against the output. An element counts towards the statistics where truth and result
    are finite. The error is |(y - hi) - lo| in float64: the first difference is exact where y is within a factor 2 of
    hi (Sterbenz), else its rounding is relative to a difference that is not small, so the whole is within 2^-51 of
    itself; budgets are rounded up by more than that (budget_output.ROUND_UP). The ulp is taken at hi; it differs from
    that at hi + lo only where hi is a power of two and lo points to zero.

    Raises UsageError when the output has not the truth's shape.
    """
    shape = codes.shape
    if shape != truth.hi.shape:
        raise UsageError(f"the output has shape {shape}, its truth {truth.hi.shape}; judge what the truth was made for")
    rows = _Rows(
        np.ascontiguousarray(codes).reshape(-1),
        _flat(truth.hi, shape),
        _flat(truth.lo, shape),
        None if allowed is None else _flat(allowed, shape),
        None if sigma is None else _flat(sigma, shape),
    )
    size = rows.hi.size
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, size // WORTH_A_THREAD)
    if workers < 2:
        tallies = [_walk(fmt, rows, 0, size)]
    else:  # NumPy lets go of the interpreter lock in every operation on a piece
        ends = [size * i // workers // PIECE * PIECE for i in range(workers)] + [size]
        with ThreadPoolExecutor(workers) as pool:
            tallies = list(pool.map(partial(_walk, fmt, rows), ends[:-1], ends[1:]))
    top = max(tallies, key=lambda tally: tally.utilisation)
    sample = np.concatenate([ulps for tally in tallies for ulps in tally.ulps] or [np.empty(0)])
    found = np.concatenate([np.empty(0, np.int64), *(some for tally in tallies for some in tally.suspects)])
    return Measured(_stats(tallies, np.abs(sample), size), np.unique(found), top.worst, histogram(sample))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The output, its truth and its budget as one row each."""

    codes: Codes
    hi: Floats
    lo: Floats
    allowed: Floats | None
    sigma: Floats | None


def _walk(fmt: "Format", rows: _Rows, begin: int, end: int) -> _Tally:
    """The tally of elements begin..end."""
    tally, buffers = _Tally(), _Buffers(min(PIECE, end - begin))
    stride = max(1, rows.hi.size // SAMPLE) | 1  # odd: does not stay within one column of a power-of-two width
    with np.errstate(all="ignore"):
        for start in range(begin, end, PIECE):
            _piece(
                tally, buffers, fmt, rows, slice(start, min(start + PIECE, end)), slice(-start % stride, None, stride)
            )
    return tally


def _flat(array: Floats, shape: tuple[int, ...]) -> Floats:
    """`array` broadcast to `shape`, in C order, as one row; a view where it is one already."""
    return np.ascontiguousarray(np.broadcast_to(array, shape), dtype=np.float64).reshape(-1)


def _piece(tally: _Tally, buffers: _Buffers, fmt: "Format", rows: _Rows, part: slice, sample: slice) -> None:
    """Add one piece to `tally`."""
    start, codes, hi, lo = part.start, rows.codes[part], rows.hi[part], rows.lo[part]
    n = hi.size
    y = np.asarray(fmt.decode(codes), np.float64)
    signed = np.subtract(y, hi, out=buffers.signed[:n])
    np.subtract(signed, lo, out=signed)
    error = np.abs(signed, out=buffers.error[:n])
    total = float(error.sum())
    finite = None
    if not np.isfinite(total):  # a NaN or an infinity in truth or result, or a sum beyond float64
        finite = np.isfinite(error)
        lost = np.flatnonzero(~finite)
        tally.suspects.append(lost + start)
        hi, lo, y = hi.copy(), lo.copy(), y.copy()
        for array in (hi, lo, y, signed, error):
            array[lost] = 0.0
        total = float(error.sum())
    ulps = _in_ulp(fmt, hi, error, buffers)
    top = float(ulps.max())
    tally.max_ulp = max(tally.max_ulp, top)
    errors = away_from_zero(ulps[sample], signed[sample], hi[sample])
    tally.ulps.append(errors if finite is None else errors[finite[sample]])
    _count_inexact(tally, fmt, codes, y, hi, lo, ulps if top >= 0.5 else None, buffers)
    if rows.allowed is not None:
        over = _compare(tally, start, error, rows.allowed[part], finite, buffers.scratch[:n])
        if over.size:
            tally.suspects.append(over + start)
    if rows.sigma is not None:
        share = np.divide(error, rows.sigma[part], out=buffers.scratch[:n])
        if finite is not None:
            share[~finite] = 0.0
        np.multiply(share, share, out=share)  # not np.dot: BLAS would start threads for so short a vector
        tally.sum_squares += float(share.sum())
    _add_sums(tally, hi, signed, error, total, buffers.scratch[:n])
    tally.finite += n if finite is None else int(np.count_nonzero(finite))


def _in_ulp(fmt: "Format", x: Floats, error: Floats, buffers: _Buffers) -> Floats:
    """`error` in ulp of `fmt` at `x`, in `scratch`; leaves the bits of the float64 ulp in `bits` where `_steps` can."""
    n = x.size
    if not _has_power_steps(fmt):
        return np.divide(error, fmt.ulp(x), out=buffers.scratch[:n])
    bits = np.bitwise_and(x.view(np.int64), _EXPONENT, out=buffers.bits[:n])
    least, most = np.int64((fmt.emin + 1023) << 52), np.int64((fmt.emax + 1023) << 52)
    if bits.min() < least or bits.max() > most:  # finding out is cheaper than clipping
        np.maximum(bits, least, out=bits)
        np.minimum(bits, most, out=bits)
    np.subtract(bits, np.int64((fmt.precision - 1) << 52), out=bits)
    inverse = buffers.scratch[:n]
    np.subtract(np.int64(2046 << 52), bits, out=inverse.view(np.int64))
    return np.multiply(error, inverse, out=inverse)


def _has_power_steps(fmt: "Format") -> bool:
    """Whether ulps of `fmt` are normal float64 powers of two with a normal inverse, and coarser than float64's."""
    return fmt.kind == "float" and fmt.precision < 50 and fmt.emin - fmt.precision > -1022 and fmt.emax < 1021


def _count_inexact(
    tally: _Tally,
    fmt: "Format",
    codes: Codes,
    y: Floats,
    hi: Floats,
    lo: Floats,
    ulps: Floats | None,
    buffers: _Buffers,
) -> None:
    """Count results that are not the rounded truth, and their steps from it.

    Only candidates are rounded exactly: results other than hi rounded by adding and subtracting 1.5 * 2^52 ulp(hi),
    and, as lo can break a tie of hi, those of half an ulp or more (`ulps`, None if there are none).
    """
    n = hi.size
    if _has_power_steps(fmt):
        magic = np.add(buffers.bits[:n], np.int64((52 << 52) + (1 << 51)), out=buffers.bits[:n]).view(np.float64)
        rounded = np.add(hi, magic, out=buffers.rounded[:n])
        np.subtract(rounded, magic, out=rounded)
        candidates = np.not_equal(rounded, y, out=buffers.differs[:n])
    else:
        candidates = np.not_equal(y, hi, out=buffers.differs[:n])
    if ulps is not None:
        candidates |= ulps >= 0.5
    if not candidates.any():
        return
    index = np.flatnonzero(candidates)
    expected = fmt.encode(hi[index], lo[index], overflow="saturate")
    steps = _steps(fmt, codes[index], expected)
    tally.max_kappa = max(tally.max_kappa, int(steps.max()))
    tally.inexact += int(np.count_nonzero(steps))


def _steps(fmt: "Format", codes: Codes, expected: Codes) -> NDArray[np.int64]:
    """Representable values between finite `codes` and `expected`; at most 2^62, where int64 would wrap."""
    a, b = fmt.keys(codes), fmt.keys(expected)
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64)) > 2.0**62
    return np.where(apart, np.int64(2**62), np.abs(a - b))


def _compare(
    tally: _Tally, start: int, error: Floats, allowed: Floats, finite: NDArray[np.bool_] | None, ratio: Floats
) -> NDArray[np.int64]:
    """Indices in the piece whose error is over `allowed`; the largest ratio goes to `tally`.

    The float64 quotient of e > a is more than 1: e / a >= 1 + ulp(a) / a > 1 + 2^-53, which rounds up.
    """
    np.divide(error, allowed, out=ratio)
    top = float(ratio.max())
    if not np.isfinite(top):  # 0 / 0 where exactness is asked for and got, or x / 0 where it is not
        ratio[(error == 0.0) | (False if finite is None else ~finite)] = 0.0
        np.minimum(ratio, _LARGEST, out=ratio)
        top = float(ratio.max())
    if top > tally.utilisation:
        tally.utilisation, tally.worst = top, start + int(ratio.argmax())
    return np.flatnonzero(ratio > 1.0) if top > 1.0 else np.empty(0, np.int64)


def _add_sums(tally: _Tally, hi: Floats, signed: Floats, error: Floats, total: float, scratch: Floats) -> None:
    """Sums of |error| and of error * sign(x), and the largest relative error; uses up `signed`."""
    tally.sum_error += total
    relative = np.divide(signed, hi, out=scratch)
    top = max(float(relative.max()), -float(relative.min()))
    if not np.isfinite(top):
        relative[hi == 0.0] = 0.0
        signed[hi == 0.0] = 0.0
        top = float(np.abs(relative).max())
    tally.max_rel = max(tally.max_rel, top)
    flip = np.bitwise_and(hi.view(np.int64), _SIGN, out=scratch.view(np.int64))
    np.bitwise_xor(signed.view(np.int64), flip, out=signed.view(np.int64))
    tally.sum_signed += float(signed.sum())


def _stats(tallies: list[_Tally], sample: Floats, size: int) -> ErrorStats:
    """The finite ErrorStats of all parts together; `sample` are the errors in ulp of some elements."""
    sample = np.minimum(sample, _LARGEST / 2)  # quantiles are means of neighbours
    middle, tail = np.quantile(sample, (0.5, 0.99)) if sample.size else (0.0, 0.0)
    total = sum(tally.sum_error for tally in tallies)
    squares = sum(tally.sum_squares for tally in tallies) / max(1, sum(tally.finite for tally in tallies))
    return ErrorStats(
        n=size,
        max_ulp=_finite(max(tally.max_ulp for tally in tallies)),
        p50_ulp=_finite(float(middle)),
        p99_ulp=_finite(float(tail)),
        max_kappa=max(tally.max_kappa for tally in tallies),
        max_rel=_finite(max(tally.max_rel for tally in tallies)),
        utilisation=_finite(max(0.0, *(tally.utilisation for tally in tallies))),
        rms=_finite(sqrt(squares)),
        bias=_finite(sum(tally.sum_signed for tally in tallies) / total) if total > 0 else 0.0,
        inexact=sum(tally.inexact for tally in tallies),
    )


def _finite(value: float) -> float:
    """`value`, or the largest float64 where it is beyond: records hold finite numbers only."""
    return min(max(value, -_LARGEST), _LARGEST) if value == value else _LARGEST
