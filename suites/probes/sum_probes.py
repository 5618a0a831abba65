"""P1 and P4: how many bits a sum keeps, and how what is beyond them is rounded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, frexp, log2

import numpy as np

from lastbit.suites.probes.access import Access
from lastbit.suites.probes.answer import Answer, Known, undecided, whole
from lastbit.suites.probes.span import Array, Span, Terms, rows
from lastbit.suites.probes.spots import Spots

#: Value of a large term with two significant bits, 1.5 * 1.5: its exponent, as the sum of its operands', is 0.
LARGE = 2.25


@dataclass(frozen=True, slots=True)
class Bench:
    """What every question about a sum needs."""

    access: Access
    span: Span
    spots: Spots
    #: Exponent of the large term, chosen so that its sums stay in range.
    top: int

    def ask(self, sums: Sequence[dict[int, float]]) -> Array:
        """The kernel's sums of terms by slot."""
        terms: list[Terms] = [{slot: self._operands(x) for slot, x in one.items()} for one in sums]
        return self.access.dot(*rows(self.access.shape.k, terms))

    def can(self, *values: float) -> bool:
        """Whether every value is a product of operands."""
        return all(self.span.can(x / LARGE if _is_large(x) else x) for x in values)

    def _operands(self, x: float) -> tuple[float, float]:
        if not _is_large(x):
            return self.span.product(x)
        first, second = self.span.product(x / LARGE)
        return 1.5 * first, 1.5 * second


def _is_large(x: float) -> bool:
    """Whether x is a large term of two bits, 1.5 * 1.5 times a power of two."""
    return frexp(abs(x))[0] == LARGE / 4


def bench(access: Access, span: Span, spots: Spots, swamp_large: float) -> Bench:
    """The bench of an access whose sums hold terms of `swamp_large`."""
    highest = min(span.high, int(log2(swamp_large)))
    return Bench(access, span, spots, highest)


def fraction_bits(on: Bench) -> Answer:
    """P1: the fraction bits that a term keeps beside a larger one."""
    i, m, j = on.spots.trio
    found, limit = kept(on, on.top, lambda large, small: {i: large, m: small, j: -large})
    evidence = f"slots {i}, {m}, {j} = 2^{on.top}, 2^({on.top}-j), -2^{on.top}: exact up to j = {found}"
    if not found or found < on.top - on.span.result_high:
        return undecided("P1", "fraction_bits", "no smaller term survives beside a large one", evidence)
    if found >= limit:
        return undecided("P1", "fraction_bits", f"the formats hold no term below 2^-{limit} of another", evidence)
    return Answer("P1", "fraction_bits", found, evidence)


def precision(on: Bench, known: Known) -> Answer:
    """P4: significand bits of the sum that is carried on: what is left when a later addition takes the large term."""
    bits = whole(known, "fraction_bits")
    if bits is None:
        return undecided("P4", "precision", "it takes P1, which could not decide")
    if not on.spots.fused:
        return Answer("P4", "precision", bits + 1, "two parts are added and rounded: P1's bits and the leading one")
    later = 0
    if on.spots.later:
        i, m, j = on.spots.block[0], on.spots.block[1], on.spots.later[0]
        later, _ = kept(on, on.top, lambda large, small: {i: large, m: small, j: -large}, bits)
        if later < bits:
            told = f"2^{on.top} leaves 2^({on.top}-j) to a later block up to j = {later}"
            return Answer("P4", "precision", later + 1, told)
    direct, limit = _direct(on, bits)
    found = max(later, direct) + 1
    evidence = f"a later block shows {later + 1} bits, the result {direct + 1}"
    if direct >= limit:
        evidence += "; more could not be told from these"
    return Answer("P4", "precision", found, evidence)


def rounding(on: Bench, known: Known) -> Answer:
    """P4: how a carried sum is rounded to its precision."""
    bits, wide = whole(known, "fraction_bits"), whole(known, "precision")
    if bits is None or wide is None:
        return undecided("P4", "rounding", "it takes the precision, which could not be decided")
    large, count = _heap(on)
    step = 2.0 ** (floor(log2(count * large)) - wide + 1)
    # A block's terms are multiples of 2^(top - 2 - F); the heap's sum is 2 or, of two terms and more, 4 times as large.
    spare = 2 if not on.spots.fused else bits - (wide - 3 + (count == 1))
    through = len(on.spots.later) >= count and bits >= wide - 1
    if not through and on.span.out.precision < wide:
        return undecided("P4", "rounding", "neither a later block nor the result shows the last bit")
    ratios = (0.25, 0.5, 0.75, 1.5) if spare >= 2 else (0.5, 1.5)
    if spare < 1 or not on.can(*(r * step for r in ratios), large):
        return undecided("P4", "rounding", "no term is below the last bit of a sum")
    return _decide(on, large, count, step, ratios, through=through)


def output_rounding(on: Bench, known: Known) -> Answer:
    """P4: how the sum is rounded to the result's format."""
    wide, out = whole(known, "precision"), on.span.out.precision
    bits = whole(known, "fraction_bits")
    if wide is None or bits is None:
        return undecided("P4", "output_rounding", "it takes the precision, which could not be decided")
    if out >= wide:
        return Answer("P4", "output_rounding", "exact", f"a result has {out} bits, a sum {wide}")
    if min(bits, wide - 1) < out + 1:
        return undecided("P4", "output_rounding", f"sums have {wide} bits, too few beyond the result's {out}")
    i, m, _ = on.spots.trio
    top = min(on.top, on.span.result_high - 2)
    large, step = 2.0**top, 2.0 ** (top - out + 1)
    ratios = (0.25, 0.5, 0.75, 1.5)
    got = on.ask([{i: sign * large, m: sign * r * step} for sign in (1.0, -1.0) for r in ratios])
    units = (got - np.repeat([large, -large], len(ratios))) / step
    return rounded("P4", "output_rounding", ratios, units, f"2^{top} and r units of the result")


def sum_range(on: Bench, known: Known) -> Answer:
    """P15: the exponents of a carried sum."""
    wide = whole(known, "precision")
    if wide is None:
        return undecided("P15", "sum_range", "it takes the precision, which could not be decided")
    if wide > 11:
        return Answer("P15", "sum_range", "f64" if wide == 53 else "f32", f"a sum has {wide} bits, more than f16")
    if on.span.high < 17:
        return undecided("P15", "sum_range", "no product is beyond f16")
    block, later = on.spots.block[0], (on.spots.later or on.spots.block[1:])[0]
    got = on.ask([{block: 2.0**17, later: -(2.0**17)}])[0]
    text = f"2^17 - 2^17 in slots {block} and {later} gives {got:g}"
    return Answer("P15", "sum_range", "f32" if got == 0 else "f16", text)


def kept(
    on: Bench, top: int, question: Callable[[float, float], dict[int, float]], most: int = 1100
) -> tuple[int, int]:
    """Largest j up to which 2^(top - j) survives, and the largest that the formats can ask for."""
    lowest = max(on.span.low, on.span.result_low - (on.span.out.precision - 1 if on.span.subnormal else 0))
    first, limit = max(1, top - on.span.result_high), min(most, top - lowest)
    asked = np.arange(first, limit + 1)
    got = on.ask([question(2.0**top, 2.0 ** (top - j)) for j in asked.tolist()])
    exact = got == np.ldexp(1.0, top - asked)
    return (limit if exact.all() else first - 1 + int(np.argmin(exact))), limit


def _direct(on: Bench, bits: int) -> tuple[int, int]:
    """Largest t up to which S + 2^(e-t) comes back, e the exponent of a sum S of large terms; and the most."""
    large, count = _heap(on)
    exponent, slots = floor(log2(count * large)), on.spots.last
    limit = min(on.span.out.precision - 1, exponent - on.top + 2 + bits)
    heap = dict.fromkeys(slots[:count], large)
    tried = [t for t in range(2, limit + 1) if on.can(2.0 ** (exponent - t))]
    if not tried:
        return 0, limit
    got = on.ask([heap | {slots[count]: 2.0 ** (exponent - t)} for t in tried])
    exact = [x == count * large + 2.0 ** (exponent - t) for t, x in zip(tried, got, strict=True)]
    return max((t for t, fine in zip(tried, exact, strict=True) if fine), default=0), limit


def _heap(on: Bench) -> tuple[float, int]:
    """A large term of two bits, and how many of them fill a block but for one slot, at most three."""
    rooms = [len(on.spots.block) - 1, len(on.spots.last) - 1, len(on.spots.later) or 3]
    return LARGE * 2.0 ** (on.top - 2), max(1, min(3, *rooms)) if on.spots.fused else 1


def _decide(on: Bench, large: float, count: int, step: float, ratios: Sequence[float], *, through: bool) -> Answer:
    block, later = on.spots.block if through else on.spots.last, on.spots.later
    sums = []
    for sign in (1.0, -1.0):
        heap = dict.fromkeys(block[:count], sign * large)
        back = dict.fromkeys(later[:count], -sign * large) if through else {}
        sums += [heap | {block[count]: sign * r * step} | back for r in ratios]
    got = on.ask(sums)
    total = 0.0 if through else count * large
    units = (got - np.repeat([total, -total], len(ratios))) / step
    where = "read by a later addition" if through else "read in the result"
    return rounded("P4", "rounding", ratios, units, f"{count} terms of {large:g} and r units of the last bit, {where}")


def rounded(probe: str, property: str, ratios: Sequence[float], units: Array, asked: str) -> Answer:
    """The rounding that gives `units` for the ratios, positive and then negative."""
    half = len(ratios)
    up, down = dict(zip(ratios, units[:half], strict=True)), dict(zip(ratios, units[half:], strict=True))
    signed = list(up.items()) + [(-r, x) for r, x in down.items()]
    told = f"{asked}: " + ", ".join(f"{r:g} gives {x:g}" for r, x in signed)
    candidates = [name for name, rule in ROUND.items() if all(rule(r) == up[r] and rule(-r) == down[r] for r in ratios)]
    if len(candidates) == 1:
        return Answer(probe, property, candidates[0], told)
    reason = "it is no rounding that is known" if not candidates else f"it may be {' or '.join(candidates)}"
    return undecided(probe, property, reason, told)


def _away(x: float) -> float:
    return float(np.copysign(np.floor(abs(x) + 0.5), x))


ROUND: dict[str, Callable[[float], float]] = {
    "toward-zero": lambda x: float(np.trunc(x)),
    "nearest-even": lambda x: float(np.rint(x)),
    "nearest-away": _away,
    "down": lambda x: float(np.floor(x)),
    "up": lambda x: float(np.ceil(x)),
}
