"""P5 to P7: how the terms of a fused addition, and the sum that is carried into it, are aligned and cut."""

from lastbit.suites.probes.answer import Answer, Known, Value, undecided, whole
from lastbit.suites.probes.sum_probes import LARGE, Bench, kept, rounded

NO_BITS = "it takes P1, which could not decide"
NO_TERM = "the formats have no term below the last bit"


def alignment(on: Bench, known: Known) -> tuple[Answer, Answer]:
    """P5: how a term is cut to the fraction bits beside a larger one, and whether slots differ in that."""
    bits = whole(known, "fraction_bits")
    if not on.spots.fused:
        text = "no addition takes three terms: nothing is aligned but what is rounded"
        return Answer("P5", "alignment", "none", text), Answer("P5", "interleaved", False, text)
    step = 0.0 if bits is None else 2.0 ** (on.top - bits)
    if bits is None or not on.can(0.75 * step, 0.5 * step):
        reason = NO_BITS if bits is None else NO_TERM
        return undecided("P5", "alignment", reason), undecided("P5", "interleaved", reason)
    near, across = _by_group(on, step, same=True), _by_group(on, step, same=False)
    kinds = {answer.value for answer in near.values()}
    if len(kinds) != 1 or None in kinds:
        text = ", ".join(f"{slot}: {answer.value or answer.evidence}" for slot, answer in near.items())
        return undecided("P5", "alignment", f"slots differ: {text}"), undecided("P5", "interleaved", "slots differ")
    first = next(iter(near.values()))
    others = {answer.value for answer in across.values()}
    if not across:
        return first, undecided("P5", "interleaved", "a block has too few slots for two groups")
    text = f"beside large terms of their own parity terms are cut {first.value}, of the other {_list(others)}"
    return first, Answer("P5", "interleaved", others != kinds, text)


def _by_group(on: Bench, step: float, *, same: bool) -> dict[int, Answer]:
    """How a term in each slot of the block is cut beside M and -M in slots of its parity (one at least), or of none."""
    block, large, ratios = on.spots.block, 2.0**on.top, (0.5, 0.75, 1.5)
    found = {}
    for place, slot in enumerate(block):
        own = [other for other in block[place % 2 :: 2] if other != slot]
        odd = list(block[1 - place % 2 :: 2])
        pair = (own + odd)[:2] if same else odd[:2]
        if same and len(block) < 3 and slot == on.spots.trio[1]:
            pair = [on.spots.trio[0], on.spots.trio[2]]
        if len(pair) == 2:
            i, j = pair
            sums = [{i: large, slot: sign * r * step, j: -large} for sign in (1.0, -1.0) for r in ratios]
            asked = f"slot {slot} beside 2^{on.top} in {i} and {j}"
            found[slot] = rounded("P5", "alignment", ratios, on.ask(sums) / step, asked)
    return found


def carry(on: Bench, known: Known) -> tuple[Answer, Answer]:
    """P7: the fraction bits that a carried sum keeps beside larger terms of a later block, and how the rest is cut."""
    bits = whole(known, "fraction_bits")
    if not on.spots.fused:
        text = "nothing is aligned"
        return undecided("P7", "carry_bits", text), Answer("P7", "carry_alignment", "none", text)
    if bits is None or len(on.spots.later) < 2:
        reason = "it takes P1, and a second block of two terms"
        return undecided("P7", "carry_bits", reason), undecided("P7", "carry_alignment", reason)
    (i, j), slot = on.spots.later[:2], on.spots.block[0]
    most, limit = kept(on, on.top, lambda large, small: {slot: small, i: large, j: -large})
    told = f"slot {slot} = 2^({on.top}-j), and ±2^{on.top} in the next block: exact up to j = {most}"
    if most >= limit:
        if limit <= bits:
            reason = f"no term is small enough: {told}"
            return undecided("P7", "carry_bits", reason), undecided("P7", "carry_alignment", reason)
        text = f"{told}: it is added after the block"
        return undecided("P7", "carry_bits", "it is not aligned", told), Answer("P7", "carry_alignment", "none", text)
    step = 2.0 ** (on.top - most)
    if not on.can(0.75 * step, 0.5 * step):
        reason = NO_TERM
        return Answer("P7", "carry_bits", most, told), undecided("P7", "carry_alignment", reason)
    large, ratios = 2.0**on.top, (0.5, 0.75, 1.5)
    got = on.ask([{slot: sign * r * step, i: large, j: -large} for sign in (1.0, -1.0) for r in ratios])
    cut = rounded("P7", "carry_alignment", ratios, got / step, f"slot {slot}, and ±2^{on.top} in the next block")
    return Answer("P7", "carry_bits", most, told), cut


def normalised(on: Bench, known: Known) -> Answer:
    """P6: whether products are normalised before they are aligned: 1.5 * 1.5 has the exponent 0, or 1."""
    bits = whole(known, "fraction_bits")
    if not on.spots.fused:
        return Answer("P6", "products_normalised", False, "nothing is aligned")
    top = on.top - 1
    small = 0.0 if bits is None else 2.0 ** (top - bits)
    if bits is None or not on.can(small, LARGE * 2.0**top):
        return undecided("P6", "products_normalised", "the formats have no term at the last bit")
    i, m, j = on.spots.trio
    large = LARGE * 2.0**top
    if i not in on.spots.block:  # a carried sum has been normalised
        i, m = m, i
    got = on.ask([{i: large, m: small, j: -large}])[0]
    text = f"1.5 * 1.5 * 2^{top} beside 2^({top}-{bits}) leaves {got:g}"
    return Answer("P6", "products_normalised", bool(got == 0.0), text)


def monotonicity(on: Bench, known: Known) -> Answer:
    """P17: whether a larger carried sum can give a smaller result: what 1 loses of small terms, 1 - ulp keeps.

    Source: Mikaitis, Monotonicity of multi-term floating-point adders, arXiv 2304.01407.
    """
    bits, wide = whole(known, "fraction_bits"), whole(known, "precision")
    if not on.spots.fused:
        return Answer("P17", "monotone", True, "every addition of two parts is rounded monotonically")
    if bits is None or wide is None:
        return undecided("P17", "monotone", "it takes P1 and P4, which could not be decided")
    slots, before = on.spots.last, [slot for slot in on.spots.block if slot not in on.spots.last]
    small, ulp = 2.0 ** -(bits + 1), 2.0**-wide
    if len(before) < 3 or on.span.out.precision < wide or not on.can(small, ulp):
        return undecided("P17", "monotone", "no carried sum, result or small term shows a sum's last bit")
    # Halves, for beside a term of 1 the last bit of 1 - ulp may be cut off.
    one = dict.fromkeys(before[:2], 0.5)
    sums = []
    for count in range(1, len(slots) + 1):
        rest = dict.fromkeys(slots[:count], small)
        sums += [rest | one, rest | one | {before[2]: -ulp}]
    got = on.ask(sums).reshape(-1, 2)
    wrong = [count for count, (larger, less) in enumerate(got, 1) if less > larger]
    told = f"1 and 1 - 2^-{wide}, with m terms of 2^-{bits + 1}"
    if wrong:
        return Answer("P17", "monotone", False, f"{told}: the smaller gives more from m = {wrong[0]} on")
    return Answer("P17", "monotone", True, f"{told}: never out of order, m up to {len(slots)}")


def _list(kinds: set[Value | None]) -> str:
    return " or ".join(sorted(str(kind) for kind in kinds))
