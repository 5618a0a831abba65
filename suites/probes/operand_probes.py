"""P8 to P13: what becomes of subnormal numbers, of the operands' last bits and of a product's."""

from itertools import product as pairs

import numpy as np

from lastbit.suites.probes.access import Access
from lastbit.suites.probes.answer import Answer, Known, undecided, value_of, whole
from lastbit.suites.probes.span import Span, Terms, rows
from lastbit.suites.probes.spots import Spots
from lastbit.suites.probes.sum_probes import Bench, rounded

#: The lowest exponent of an accumulator that aligns to any.
ANY_EXPONENT = -300
FLUSHED = {(True, True): "kept", (False, False): "flushed"}


def input_subnormals(access: Access, span: Span) -> Answer:
    """P8: whether subnormal operands count."""
    sums, wanted, sides = [], [], []
    for side, (small, other) in (("a", (span.a, span.b)), ("b", (span.b, span.a))):
        power = min(other.emax - 1, span.result_high - small.emin)
        if small.eta * 2.0**power >= 2.0**span.result_low:
            first, second = small.eta, 2.0**power
            sums.append({0: (first, second) if side == "a" else (second, first)})
            wanted.append(first * second)
            sides.append(side)
    if len(sums) < 2:
        return undecided("P8", "input_subnormals", "no product with a subnormal operand is a normal result")
    got = access.dot(*rows(access.shape.k, sums))
    kept = tuple(bool(x == y) for x, y in zip(got, wanted, strict=True))
    told = ", ".join(f"{side}: {y:g} gives {x:g}" for side, x, y in zip(sides, got, wanted, strict=True))
    if not all(x in (0.0, y) for x, y in zip(got, wanted, strict=True)):
        return undecided("P8", "input_subnormals", "a product with a subnormal operand is neither kept nor zero", told)
    sided = "kept of a, flushed of b" if kept[0] else "flushed of a, kept of b"
    return Answer("P8", "input_subnormals", FLUSHED.get((kept[0], kept[1]), sided), told)


def result_subnormals(access: Access, span: Span) -> Answer:
    """P9: whether results below the result format's normal range are kept, from normal operands."""
    exponent = span.result_low - 2
    value = 2.0**exponent
    normal = Span(span.a, span.b, span.out)
    if not normal.can(value) or value < span.out.eta:
        return undecided("P9", "result_subnormals", f"no product of normal operands is 2^{exponent}")
    (a, b), k = normal.product(value), access.shape.k
    terms: list[Terms] = [{0: (a, b)}]
    told = [f"2^{exponent}"]
    if normal.can(3 * value):
        terms.append({0: normal.product(4 * value), k - 1: normal.product(-3 * value)})
        told.append(f"4 * 2^{exponent} - 3 * 2^{exponent}")
    got = access.dot(*rows(k, terms))
    text = ", ".join(f"{asked} gives {x:g}" for asked, x in zip(told, got, strict=True))
    kept = [x == value for x in got]
    if all(kept):
        return Answer("P9", "result_subnormals", "kept", text)
    if all(x == 0 for x in got):
        return Answer("P9", "result_subnormals", "flushed", text)
    return undecided("P9", "result_subnormals", "products and differences are not all kept, nor all zero", text)


def subnormal_exponent(on: Bench, known: Known) -> Answer:
    """P6: whether a subnormal operand is aligned by its exponent field, which is larger than its value's."""
    bits, span = whole(known, "fraction_bits"), on.span
    if not on.spots.fused or bits is None:
        return undecided("P6", "subnormal_exponent", "no terms are aligned" if bits is not None else "it takes P1")
    if not span.subnormal:
        return undecided("P6", "subnormal_exponent", "subnormal operands do not count")
    first, second = span.a.eta, 2.0 ** (span.b.emax - 1)
    large, by_field = first * second, bits - (span.a.precision - 1)
    small = large * 2.0 ** -(by_field + 1)
    if not span.can(small) or small < 2.0**span.result_low:
        return undecided("P6", "subnormal_exponent", "the formats have no term below its last bit")
    i, m, j = on.spots.trio
    if i not in on.spots.block:  # a carried sum has no field
        i, m = m, i
    terms = {i: (first, second), m: span.product(small), j: (-first, second)}
    got = on.access.dot(*rows(on.access.shape.k, [terms]))[0]
    told = f"{large:g} from a subnormal, beside {small:g}, leaves {got:g}"
    return Answer("P6", "subnormal_exponent", "field" if got == 0 else "value", told)


def lowest_exponent(on: Bench, known: Known) -> Answer:
    """P6: the exponent that terms are at least aligned to, from what decides the smallest subnormal sum.

    2^-149 - 2^-t truncates to 0, and 2^-150 + 2^-t rounds to 2^-149, while 2^-t is not cut off.
    """
    bits, wide = whole(known, "fraction_bits"), whole(known, "precision")
    if not on.spots.fused or bits is None or wide is None:
        return undecided("P6", "floor", "no terms are aligned" if not on.spots.fused else "it takes P1 and P4")
    emin = -14 if value_of(known, "sum_range") == "f16" else -126
    least, truncated = emin - wide + 1, value_of(known, "rounding") == "toward-zero"
    if on.span.out.eta > 2.0**least or value_of(known, "result_subnormals") == "flushed":
        return undecided("P6", "floor", f"no result is 2^{least}, the smallest sum")
    if truncated and value_of(known, "alignment") == "down":
        return undecided("P6", "floor", "a negative term that is cut downwards decides the sum however small it is")
    start = least if truncated else least - 1
    sign = -1.0 if truncated else 1.0
    asked = [t for t in range(1 - least, bits - least + 3) if on.span.can(2.0**start) and on.span.can(2.0**-t)]
    if not asked:
        return undecided("P6", "floor", f"no product is as small as 2^{start}")
    i, m = on.spots.block[:2]
    got = on.ask([{i: 2.0**start, m: sign * 2.0**-t} for t in asked])
    kept = (got == 0) if truncated else (got != 0)
    if kept.all() and asked[-1] < bits - start + 1:
        return undecided("P6", "floor", f"no product is as small as 2^{start - bits - 1}")
    last = asked[-1] if kept.all() else asked[int(np.argmin(kept))] - 1
    told = f"2^-t decides the sum with 2^{start} up to t = {last}"
    exponent = bits - last
    if exponent > start:
        return Answer("P6", "floor", exponent, told)
    return Answer("P6", "floor", ANY_EXPONENT, told + ": at any exponent")


def fused_multiply_add(access: Access, span: Span, spots: Spots, known: Known) -> Answer:
    """P10: whether a product and its addition are rounded together."""
    wide = whole(known, "precision")
    if wide is None:
        return undecided("P10", "fma", "it takes the precision, which could not be decided")
    half = -(-wide // 2)
    if span.a.precision + span.b.precision <= wide:
        told = f"products of {span.a.precision} and {span.b.precision} bits are exact in {wide}"
        return undecided("P10", "fma", told + ": nothing depends on it")
    if half >= min(span.a.precision, span.b.precision):
        return undecided("P10", "fma", f"no operand has {half + 1} bits")
    x, rest = 1 + 2.0**-half, -(1 + 2.0 ** (1 - half))
    block = (*spots.block[:2], *spots.later[:1])
    sums = [{i: (x, x), j: (rest, 1.0)} for i, j in pairs(block, block) if i != j]
    got = access.dot(*rows(access.shape.k, sums))
    exact = 2.0 ** (-2 * half)
    told = f"(1 + 2^-{half})^2 - (1 + 2^{1 - half}) gives {_few(got)} over {len(sums)} pairs of slots {block}"
    if (got == exact).any() and np.isin(got, (0.0, exact)).all():
        return Answer("P10", "fma", True, told)
    if (got == 0).all():
        return Answer("P10", "fma", False, told)
    return undecided("P10", "fma", "the products are rounded in another way", told)


def input_precision(access: Access, span: Span) -> tuple[Answer, Answer]:
    """P11: how many bits of an operand reach the product, and how the rest is rounded."""
    kept: dict[str, int] = {}
    told = []
    for side, fmt in (("a", span.a), ("b", span.b)):
        bits = np.arange(1, fmt.precision)
        pair = [((1 + 2.0**-j, 1.0), (-1.0, 1.0)) for j in bits.tolist()]
        sums = [{0: x if side == "a" else x[::-1], 1: y} for x, y in pair]
        exact = access.dot(*rows(access.shape.k, sums)) == 2.0 ** -bits.astype(float)
        kept[side] = 1 + (len(bits) if exact.all() else int(np.argmin(exact)))
        told.append(f"{side}: 1 + 2^-j - 1 is exact up to j = {kept[side] - 1}")
    least = min(kept.values())
    bits_answer = Answer("P11", "input_precision", least, "; ".join(told))
    if kept["a"] >= span.a.precision and kept["b"] >= span.b.precision:
        return bits_answer, Answer("P11", "input_rounding", "exact", "every bit of an operand counts")
    return bits_answer, _input_rounding(access, span, "a" if kept["a"] == least else "b", least)


def split_emulation(access: Access, span: Span) -> Answer:
    """P12 and P13: whether wide operands are split into narrow parts, whose products are missing or overflow."""
    if span.a.precision < 24 or span.b.precision < 24:
        return undecided("P12", "split", f"operands of {span.a.precision} bits need no splitting")
    tiny, largest = 2.0**-120 * (1 + 2.0**-23), span.a.max
    three = 1 + 2.0**-7 + 2.0**-14 + 2.0**-23
    # The square's parts: 1, twice 2^-9, and 2^-18 once of the second parts and twice of the first and the third.
    parts = 1 + 2.0**-9 + 2.0**-18
    sums: list[Terms] = [{0: (x, 1.0)} for x in (tiny, largest, three)]
    sums.append({0: (parts, parts), 1: (-1.0, 1.0), 2: (-(2.0**-8), 1.0)})
    got = access.dot(*rows(access.shape.k, sums))
    rest = got[3] * 2.0**18
    told = (
        f"2^-120 (1 + 2^-23): {got[0]:.9g}, the largest: {got[1]:.9g}, three parts: {got[2]:.9g}, "
        f"products of parts below 2^-8: {rest:.3g} of 3"
    )
    if got[2] != three:
        return Answer("P12", "split", "yes, bits are lost", told)
    if abs(rest - 3) > 0.25:
        return Answer("P12", "split", "yes, products of parts are dropped", told)
    if got[0] != tiny or got[1] != largest:
        return Answer("P12", "split", "yes, without scaling", told)
    return Answer("P12", "split", "no", told)


def _input_rounding(access: Access, span: Span, side: str, bits: int) -> Answer:
    """How operand `side` is rounded to `bits`, from ties and quarters of its last kept bit."""
    fmt, unit = (span.a if side == "a" else span.b), 2.0 ** (1 - bits)
    ratios = [r for r in (0.25, 0.5, 0.75, 1.5) if fmt.round(np.float64(1 + r * unit)) == 1 + r * unit]
    sums = []
    for sign in (1.0, -1.0):
        for r in ratios:
            one, back = (sign * (1 + r * unit), 1.0), (-sign, 1.0)
            sums.append({0: one if side == "a" else one[::-1], 1: back})
    got = access.dot(*rows(access.shape.k, sums)) / unit
    return rounded("P11", "input_rounding", ratios, got, f"{side} = 1 + r units of its last kept bit")


def _few(got: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> str:
    return " or ".join(f"{x:g}" for x in np.unique(got)[:4])
