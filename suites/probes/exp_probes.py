"""P24: a kernel's exponential, seen through a softmax: beside a weight of 1 a result is exp(x) alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references import exponential, pairs
from lastbit.references.formats import Format
from lastbit.references.pairs import Pair
from lastbit.references.ulp import error_ulp
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.op_access import Array, stepped

#: Logits (m, n) to what the kernel gives, (m, n).
Softmax = Callable[[Array], Array]
#: Numbers beside the largest one in a row: vectors of any width and a remainder.
ROW = 67
#: Rows of numbers whose exponentials are measured.
ROWS = 160
#: Errors up to this many ulp are those of one exponential and not of another.
LIKELY = 8.0
LN2 = float(np.log(2.0))


@dataclass(frozen=True, slots=True)
class Range:
    """The logits below the largest one at which a softmax is exp(x): its other weights are lost in the sum."""

    x: Format
    out: Format
    #: From here down a weight beside 1 changes the sum by less than 2^-(2 p), p its precision at least.
    high: float
    #: Down to here exp(x) is a normal number.
    low: float

    @property
    def is_empty(self) -> bool:
        """Whether the result is zero before nothing but exp(x) is seen."""
        return self.high - self.low < 1.0

    def numbers(self, seed: int, rows: int = ROWS) -> Array:
        """Numbers of the format in the range, random, (rows, ROW)."""
        rng = np.random.default_rng(seed)
        drawn = self.x.round(rng.uniform(self.low, self.high, (rows, ROW)))
        return np.clip(drawn, self._inside(self.low), None)

    def _inside(self, low: float) -> float:
        return float(self.x.round(low, rounding="toward-zero"))


def seen(x: Format, out: Format) -> Range:
    """The range of a softmax with these formats; sums are of f32 at least."""
    bits = 2 * max(out.precision, 24)
    return Range(x, out, -bits * LN2, max(np.log(out.min_normal), -x.max) + 1e-6)


def error(softmax: Softmax, over: Range) -> list[Answer]:
    """The largest error of exp in ulp of the result, and whether it is 2 to a rounded power that is computed."""
    if over.is_empty:
        reason = f"{over.out.name} ends before a weight leaves the sum alone"
        return [undecided("P24", name, reason) for name in ("exp_error", "exp_base")]
    x = over.numbers(24)
    got = _beside(softmax, x)
    plain = np.abs(error_ulp(got, *_power((x, np.zeros_like(x))), over.out))
    place = np.unravel_index(int(np.argmax(plain)), plain.shape)
    told = (
        f"{x.size} numbers from {over.low:.4g} to {over.high:.4g}; exp({float(x[place])!r}) gives {float(got[place])!r}"
    )
    largest = Answer("P24", "exp_error", round(float(plain.max()), 3), told)
    compute = Format.of("f64" if over.out.precision > 24 else "f32")
    power = compute.round(x * float(compute.round(1 / LN2)))
    two = np.abs(error_ulp(got, *_power(pairs.times((power, np.zeros_like(x)), _ln2(x))), over.out))
    told = f"up to {plain.max():.3g} ulp from e^x, {two.max():.3g} from 2 to the rounded x log2(e)"
    return [largest, _base(float(plain.max()), float(two.max()), told, over.out)]


def _base(plain: float, two: float, told: str, out: Format) -> Answer:
    if min(plain, two) > LIKELY:
        return undecided("P24", "exp_base", f"neither is within {LIKELY:g} ulp", told)
    if max(plain, two) <= LIKELY:
        return undecided("P24", "exp_base", f"{out.name} does not tell them apart", told)
    return Answer("P24", "exp_base", "e" if plain < two else "2, of a rounded product", told)


def underflow(softmax: Softmax, over: Range) -> Answer:
    """What results below the normal range become, and whether exp is cut off earlier."""
    end = float(np.log(over.out.eta))
    if over.x.max < -end + 1:
        return undecided("P24", "exp_underflow", f"no {over.x.name} is below {end:.4g}")
    above = over.x.round(np.linspace(over.low + 8.0, over.low + 1e-3, ROW))
    below = over.x.round(np.linspace(over.low - 0.1, end + 0.1, ROW))
    beyond = over.x.round(np.linspace(end - 1.0, max(4 * end, -over.x.max), ROW))
    kept, small, tiny = _beside(softmax, np.stack([above, below, beyond]))
    last = min((float(x) for x, y in zip([*above, *below], [*kept, *small], strict=True) if y > 0), default=0.0)
    told = f"the least number that does not give 0 is {last:.6g}; the normal range ends at {over.low:.6g}"
    if tiny.any():
        return Answer("P24", "exp_underflow", "never 0", told)
    if not kept.all():
        return Answer("P24", "exp_underflow", f"0 from {float(above[np.argmax(kept == 0)]):.4g} on", told)
    if small.all():
        return Answer("P24", "exp_underflow", "gradual", told)
    return Answer("P24", "exp_underflow", "flushed" if not small.any() else "some flushed", told)


def monotone(softmax: Softmax, over: Range) -> Answer:
    """Whether a smaller number never gives more: runs of neighbours, also where the reduction changes."""
    if over.is_empty:
        return undecided("P24", "exp_monotone", f"{over.out.name} ends before a weight leaves the sum alone")
    turns = (np.arange(np.ceil(over.low / LN2), over.high / LN2) + 0.5) * LN2
    starts = np.concatenate([turns, over.numbers(25, 1)[0]])
    starts = np.unique(over.x.round(np.clip(starts, over.low + 1, over.high)))
    middle = np.arange(ROW) - ROW // 2
    runs = -np.stack([stepped(over.x, np.full(ROW, -start), middle) for start in starts])
    got = _beside(softmax, np.where(runs < over.high, runs, over.x.round(over.high)))
    down = np.diff(got, axis=1) > 0
    told = f"{len(starts)} runs of {ROW} neighbours, {int(down.sum())} steps go the wrong way"
    if down.any():
        row, place = np.argwhere(down)[0]
        told += f", the first from {float(runs[row, place])!r} to the next below"
    return Answer("P24", "exp_monotone", not down.any(), told)


def places(softmax: Softmax, over: Range) -> Answer:
    """Whether the same number gives the same bits wherever it stands in a row: a vector's remainder may differ."""
    high = -3.0 if over.is_empty else over.high
    low = max(over.low, high - 50.0)
    x = over.x.round(np.random.default_rng(26).uniform(low, high, (32, 1)))
    got = _beside(softmax, np.repeat(x, ROW, axis=1))
    other = (got != got[:, :1]).any(axis=0)
    told = f"one number in all of {ROW} places, 32 times"
    if not other.any():
        return Answer("P24", "exp_places", "alike", told)
    first = int(np.argmax(other))
    return Answer("P24", "exp_places", "differ", f"{told}: {int(other.sum())} differ from the first, from {first} on")


def one(softmax: Softmax, over: Range) -> Answer:
    """exp(0): rows of 1, 2, 4, .. equal numbers, whose parts are powers of two if it is 1 and the sum is right.

    A factor that all exponentials have cancels, and is no property of a softmax.
    """
    wrong = []
    for count in (1, 2, 4, 8, 16, 32, 64):
        for value in (0.0, -3.0, 5.0):
            got = softmax(np.full((1, count), value))
            if (got != 1.0 / count).any():
                wrong.append(f"{count} times {value:g} gives {float(got[0, 0])!r}")
    told = "1, 2, 4, .. 64 equal numbers" + (f": {wrong[0]}" if wrong else " give their shares exactly")
    return Answer("P24", "exp_zero", "exact" if not wrong else "not exact", told)


def nothing(softmax: Softmax, over: Range) -> Answer:
    """exp(-inf), beside a number."""
    got = softmax(np.array([[0.0, -np.inf, -np.inf], [-np.inf, 1.0, -np.inf]]))
    exact = np.array_equal(got, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return Answer("P24", "exp_infinity", "0" if exact else "not 0", f"0, -inf, -inf give {got[0].tolist()}")


def _beside(softmax: Softmax, x: Array) -> Array:
    """What numbers (m, n) give, each row beside a 0, which is first in one half of the rows and last in the other."""
    first = np.concatenate([np.zeros((len(x), 1)), x], axis=1)
    odd = np.arange(len(x)) % 2 == 1
    first[odd] = np.roll(first[odd], -1, axis=1)
    got = softmax(first)
    got[odd] = np.roll(got[odd], 1, axis=1)
    return got[:, 1:]


def _power(x: Pair) -> Pair:
    """e^x as a pair, of results in f64's normal range with room for the low part."""
    hi, lo, k = exponential.exp(x)
    return np.ldexp(hi, k), np.ldexp(lo, k)


def _ln2(like: NDArray[np.float64]) -> Pair:
    high, low = exponential.LN2[0], exponential.LN2[1]
    return np.full_like(like, high + low), np.full_like(like, (high - (high + low)) + low)
