"""Slices and certificates: the fewest there can be, on the grids they claim, and exact to the last bit allowed."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from lastbit.references import certificate, slicing


def fewest(span_a: int, span_b: int, terms: int) -> int | None:
    """The fewest products of any admissible cut, by trying every width."""
    room = max(w for w in range(54) if max(terms, 1) * 2**w <= 2**53)
    found = []
    for bits_a in range(1, room):
        counts = [-(-(span + 1) // (bits + 1)) for span, bits in ((span_a, bits_a), (span_b, room - bits_a))]
        if max(counts) <= slicing.MOST_SLICES:
            found.append(counts[0] * counts[1])
    return min(found, default=None)


@pytest.mark.parametrize("terms", [0, 1, 2, 3, 4, 5, 512, 513, 2**20, 2**40, 2**50])
def test_no_cut_needs_fewer_products_than_the_plan(terms: int) -> None:
    for span_a, span_b in (
        (1, 1),
        (2, 50),
        (11, 11),
        (24, 24),
        (24, 30),
        (53, 53),
        (49, 52),
        (100, 7),
        (300, 280),
        (2000, 9),
    ):
        plan, want = slicing.plan(span_a, span_b, terms), fewest(span_a, span_b, terms)
        assert (None if plan is None else plan.products) == want, (span_a, span_b)
        if plan is not None:
            assert max(terms, 1) * 2 ** (plan.bits_a + plan.bits_b) <= 2**53
            assert min(plan.bits_a, plan.bits_b) >= 1
            assert plan.slices_a * (plan.bits_a + 1) - 1 >= span_a
            assert plan.slices_b * (plan.bits_b + 1) - 1 >= span_b


@pytest.mark.parametrize("bits", [1, 2, 5, 12, 26])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_slice_lies_on_its_grid_and_leaves_half_a_step(bits: int, axis: int) -> None:
    """The first is at most 2^bits of its grid; each later one at most half its predecessor's."""
    rng = np.random.default_rng(bits)
    x = rng.standard_normal((4, 5)) * 2.0 ** rng.integers(-20, 20, (4, 1) if axis else (1, 5))
    top = certificate.span(x, axis).top
    count = 200 // bits
    cut = slicing.slices(x, top, bits, count, axis)
    grid = np.expand_dims(top - bits, axis)
    rest = [[Fraction(float(value)) for value in row] for row in x]
    for number, part in enumerate(cut):
        for i, j in np.ndindex(x.shape):
            step = Fraction(2) ** int(np.broadcast_to(grid, x.shape)[i, j] - number * (bits + 1))
            value = Fraction(float(part[i, j]))
            assert (value / step).denominator == 1
            assert abs(value) <= step * (2**bits)
            rest[i][j] -= value
            assert abs(rest[i][j]) <= step / 2
    assert not any(value for row in rest for value in row)
    assert len(cut) < count


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_operand_is_cut_into_more_slices_than_are_considered(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "MOST_SLICES", most)
    for span_a in range(1, 140, 3):
        for span_b in (1, 20, 40, 53, 90):
            plan, want = slicing.plan(span_a, span_b, 64), fewest(span_a, span_b, 64)
            assert (None if plan is None else plan.products) == want, (span_a, span_b)
            assert plan is None or max(plan.slices_a, plan.slices_b) <= most


def test_exactly_as_many_slices_as_are_asked_for_hold_the_whole() -> None:
    x = np.random.default_rng(3).standard_normal((3, 4))
    top = certificate.span(x, 1).top
    whole = slicing.slices(x, top, 9, 99, 1)
    again = slicing.slices(x, top, 9, len(whole), 1)
    assert len(again) == len(whole) > 3
    assert all((one == other).all() for one, other in zip(whole, again, strict=True))
    for count in (1, 2, 3):
        some = slicing.slices(x, top, 9, count, 1)
        assert len(some) == count
        assert all((one == other).all() for one, other in zip(whole[: count - 1], some, strict=False))


def test_slices_of_numbers_near_the_end_of_float64_keep_their_last_bits() -> None:
    x = np.array([[1 + 2.0**-52, 3.0]]) * 2.0**-1000
    cut = slicing.slices(x, certificate.span(x, 1).top, 20, 9, 1)
    assert [sum(Fraction(float(part[0, j])) for part in cut) for j in range(2)] == [Fraction(float(v)) for v in x[0]]


def test_products_of_all_pairs_come_smallest_first() -> None:
    a, b = [np.array([[2.0**-9 * 4.0**-i]]) for i in range(3)], [np.array([[2.0 ** -(6 * j)]]) for j in range(2)]
    found = [float(p[0, 0]) for p in slicing.exact_products(a, b)]
    assert sorted(found) == sorted(float(x[0, 0] * y[0, 0]) for x in a for y in b)
    order = [next((i + j) for i, x in enumerate(a) for j, y in enumerate(b) if x[0, 0] * y[0, 0] == p) for p in found]
    assert order == sorted(order, reverse=True)
    assert slicing.Plan(3, 10, 4, 12).products == 12


# Certificates ----------------------------------------------------------------------------------------------------


def test_spans_are_those_of_the_bits() -> None:
    """Every |x| < 2^top, no top is too high; low is the lowest set bit, or one below it for a power of two."""
    rows = np.array([
        [0.0, 0.0, 0.0], [1.0, 0.0, 3.0], [2.0**-30, 5.0, -(2.0**20)], [-0.75, 0.5, 0.0],
        [5e-324, 0.0, 2.0**-1030], [1.5, 1.5, 1.5], [-7.0, 11.0, 13.0], [-1.25, 3.0, 6.0],
    ])  # fmt: skip
    for x in (rows, *(row[None] for row in rows)):
        for axis, magnitude in product((1, 0), (True, False)):
            turned = x if axis else x.T.copy()
            span = certificate.span(turned, axis, np.abs(turned) if magnitude else None)
            for place, row in enumerate(x):
                some = [Fraction(abs(float(value))) for value in row if value]
                if not some:
                    assert (span.top[place], span.low[place]) == (0, 0)
                    continue
                assert Fraction(2) ** int(span.top[place] - 1) <= max(some) < Fraction(2) ** int(span.top[place])
                lowest = max(
                    e for e in range(-1080, 60) if all((value / Fraction(2) ** e).denominator == 1 for value in some)
                )
                assert lowest - 1 <= span.low[place] <= lowest
                if Fraction(2) ** lowest not in some:
                    assert span.low[place] == lowest
            assert (span.bits == span.top - span.low).all()


@pytest.mark.parametrize("shift", [0, 300, 449, 450, 460, -400, -537, -538, -540])
def test_a_product_is_certified_up_to_2_to_the_53_quanta_and_no_further(shift: int) -> None:
    """Of every size, also where the quantum or the limit is beyond what float64 holds."""
    for low_a, low_b in ((shift, -shift), (shift, 3), (-3, shift), (shift, shift)):
        q = low_a + low_b
        lows = np.array([low_a, low_a - 1]), np.array([low_b])
        limit = Fraction(2) ** (q + 53)
        for factor in (Fraction(1, 2), Fraction(1), Fraction(3, 2)):
            weight = limit * factor
            if weight < 2**1023 and (weight / Fraction(2) ** -1074).denominator == 1:
                found = certificate.certified(np.array([[float(weight)], [float(weight)]]), *lows)
                right = factor <= 1 and q >= -1074
                assert found[0, 0] == (right and (q + 53 <= 1023 or weight <= 2**1023)), (low_a, low_b, factor)
                assert found[1, 0] == (factor <= Fraction(1, 2) and q - 1 >= -1074), (low_a, low_b, factor)
        assert certificate.certified(np.zeros((2, 1)), *lows).all()
    # One column whose quantum is no float64 beside one whose is: the first is refused, though its limit is one.
    mixed = certificate.certified(np.full((2, 2), 2.0**-1060), np.array([-100, -100]), np.array([-1000, 0]))
    assert mixed.tolist() == [[False, True]] * 2
    assert certificate.certified(
        np.full((2, 2), 2.0**-1060), np.array([-1000, 0]), np.array([-100, -100])
    ).tolist() == [
        [False, False],
        [True, True],
    ]
    assert certificate.certified(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(3, np.int64)).shape == (0, 3)


def test_guaranteed_terms_reach_2_to_the_53_quanta_exactly() -> None:
    for top, low in ((448.0, 2.0**-9), (3.0, 1.0), (2.0**20, 2.0**-6), (7.0, 0.5)):
        terms = certificate.guaranteed_terms(top, low, 5.0, 0.25)
        quanta = Fraction(top) * 5 / (Fraction(low) * Fraction(1, 4))
        assert terms * quanta <= 2**53 < (terms + 1) * quanta
    assert certificate.guaranteed_terms(1.0, 2.0**-600, 1.0, 2.0**-474) == 0  # sums of 2^1074 quanta
    assert certificate.guaranteed_terms(2.0**-540, 2.0**-540, 2.0**-534, 2.0**-534) == 2**53
    assert certificate.guaranteed_terms(2.0**-540, 2.0**-540, 2.0**-535, 2.0**-535) == 0
