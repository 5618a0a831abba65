"""The parts that truth is made of, each against rational arithmetic: exact sums, certificates, slices, integers."""

from fractions import Fraction
from math import nextafter, ulp

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lastbit.references import certificate, eft, rational, slicing
from lastbit.references.formats import Format

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.too_slow], database=None
)
FINITE = st.floats(-(2.0**1000), 2.0**1000, allow_nan=False)


def array(*values):
    return np.array(values, float)


@PROFILE
@given(FINITE, FINITE)
def test_two_sum_is_exact(a, b):
    s, e = eft.two_sum(array(a), array(b))
    assert Fraction(s[0]) + Fraction(e[0]) == Fraction(a) + Fraction(b)
    assert s[0] == a + b


@PROFILE
@given(FINITE, FINITE)
def test_two_product_is_exact_where_it_says_so(a, b):
    with np.errstate(all="ignore"):
        p, e = eft.two_product(array(a), array(b))
        safe = eft.product_is_safe(array(a), array(b))[0]
    assert not safe or Fraction(p[0]) + Fraction(e[0]) == Fraction(a) * Fraction(b)
    assert safe or not (abs(a) < 2.0**400 and abs(b) < 2.0**400 and min(abs(a), abs(b)) > 2.0**-400)


CLOSE = st.builds(lambda n, e: float(np.ldexp(n, e)), st.integers(-(2**53), 2**53), st.integers(-230, 10))
BITS = st.builds(lambda s, e: s * 2.0**e, st.sampled_from([1.0, -1.0]), st.integers(-240, 20))


@settings(PROFILE, max_examples=500)
@given(st.lists(st.one_of(CLOSE, BITS, FINITE), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_rounded_once_is_the_sum_rounded_once(values, random):
    """Half spacings and tiny powers of two make ties and near ties; their order is arbitrary."""
    values = values + [-x for x in values if random.random() < 0.2]
    values += [random.choice((0.5, -0.5)) * ulp(x) for x in values if random.random() < 0.4]
    values += [random.choice((0.5, -0.5)) * ulp(x) for x in values[-3:] if random.random() < 0.4]
    random.shuffle(values)
    hi, lo, radius, proved = (x[0] for x in eft.rounded_once([array(x) for x in values]))
    total = sum(map(Fraction, values), Fraction(0))
    assert proved
    assert hi == float(total)
    rest = total - Fraction(hi)
    if Fraction(float(lo)) == rest:
        assert radius == 0
        return
    below = nextafter(lo, -np.inf) if Fraction(float(lo)) > rest else lo
    assert Fraction(float(below)) < rest < Fraction(nextafter(below, np.inf))
    assert array(lo).view(np.int64)[0] & 1
    assert radius == ulp(lo)


@PROFILE
@given(st.integers(-(2**2200), 2**2200), st.integers(-2300, 300))
def test_rounded_pair_is_the_integer_rounded_once(n, e):
    hi, lo, radius = rational.rounded_pair(n, e)
    total = Fraction(n) * Fraction(2) ** e
    if abs(hi) == np.inf:
        assert abs(total) >= 2**1024 - 2**970
        assert lo == radius == 0
        return
    assert hi == float(total)
    assert abs(total - Fraction(hi) - Fraction(lo)) <= Fraction(radius)
    assert abs(lo) <= ulp(hi) / 2


def test_integers_and_fractions_agree():
    random = np.random.default_rng(1)
    a = np.ldexp(random.standard_normal((4, 9)), random.integers(-1000, 1000, (4, 9)))
    rows = rational.Integers(a)
    for i, j in np.ndindex(4, 4):
        n, e = rational.exact_element(rows[i], rows[j], alpha=0.3, addends=[(0.1, 1e-300)])
        want = Fraction(0.3) * rational.rational_dot(a[i], a[j]) + Fraction(0.1) * Fraction(1e-300)
        assert Fraction(n) * Fraction(2) ** e == want


@PROFILE
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_span_holds_every_bit(values):
    top, low = (int(x[0]) for x in certificate.span(array(*values)[None, :], 1))
    for x in values:
        assert Fraction(abs(x)) < Fraction(2) ** top or x == 0
        assert (Fraction(x) / Fraction(2) ** low).denominator == 1
    bits = [(Fraction(x).numerator & -Fraction(x).numerator) / Fraction(x).denominator for x in values if x]
    assert not bits or 2.0**low >= min(bits) / 2


def test_span_of_low_precision_numbers_is_close():
    """The lowest bit is found exactly but for powers of two, where one bit may be lost."""
    x = Format.of("e4m3fn").decode(np.arange(1, 0x7F, dtype=np.uint8))
    top, low = certificate.span(x[None, :], 1)
    assert (top[0], low[0]) in {(9, -9), (9, -10)}


@pytest.mark.parametrize(
    ("name", "terms"), [("e4m3fn", 171196), ("e4m3fnuz", 149130), ("i8", 2**39), ("f16", 0), ("bf16", 0)]
)
def test_guaranteed_terms_of_formats(name, terms):
    fmt = Format.of(name)
    largest, least = (128.0, 1.0) if name == "i8" else (fmt.max, fmt.eta)
    assert certificate.guaranteed_terms(largest, least, largest, least) == terms


def test_certificate_is_sharp():
    """2^53 - 1 quanta pass, and one bit beyond is refused: there FP64 does round."""
    for scale in (0, -500, 400):
        a, b = np.ldexp(array(2.0**27 - 1, 1.0), scale)[None, :], array(2.0**26, 2.0**25)[:, None]
        spans = certificate.span(a, 1), certificate.span(b, 0)
        assert certificate.certified(np.abs(a) @ np.abs(b), spans[0].low, spans[1].low)[0, 0]
    a, b = array(2.0**27 + 1, 1.0)[None, :], array(2.0**27 + 1, 1.0)[:, None]
    spans = certificate.span(a, 1), certificate.span(b, 0)
    assert not certificate.certified(np.abs(a) @ np.abs(b), spans[0].low, spans[1].low)[0, 0]
    assert Fraction(float((a @ b)[0, 0])) != rational.rational_dot(a[0], b[:, 0])


@PROFILE
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 2**20))
def test_plan_is_error_free_and_complete(span_a, span_b, terms):
    plan = slicing.plan(span_a, span_b, terms)
    assert plan is not None
    assert terms * 2 ** (plan.bits_a + plan.bits_b) <= 2**53
    assert plan.slices_a * (plan.bits_a + 1) - 1 >= span_a
    assert plan.slices_b * (plan.bits_b + 1) - 1 >= span_b


def test_plan_of_typical_formats_is_short():
    assert slicing.plan(28, 28, 512).products == 2  # f16, bf16 N(0, 1)
    assert slicing.plan(48, 48, 16384).products == 8  # f32
    assert slicing.plan(48, 48, 512).products == 6


def test_plan_gives_up_where_no_slices_do():
    assert slicing.plan(20000, 20000, 2**20) is None


@PROFILE
@given(
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.sampled_from([0, 30, 300]),
    st.sampled_from([-500, 0, 400]),
    st.booleans(),
)
def test_slices_sum_to_the_operand_and_multiply_exactly(seed, k, spread, scale, sparse):
    random = np.random.default_rng(seed)

    def drawn(*shape):
        x = np.ldexp(random.standard_normal(shape), scale // 2 + random.integers(-spread, spread + 1, shape))
        return np.where(random.random(shape) < 0.5, 0.0, x) if sparse else x

    a, b = drawn(3, k), drawn(k, 2)
    spans = certificate.span(a, 1), certificate.span(b, 0)
    # Below that a product is no float64 number: safe_range keeps operands above it.
    assume(int(spans[0].low.min()) + int(spans[1].low.min()) >= certificate.LEAST)
    plan = slicing.plan(int(spans[0].bits.max()), int(spans[1].bits.max()), k)
    cut_a = slicing.slices(a, spans[0].top, plan.bits_a, plan.slices_a, 1)
    cut_b = slicing.slices(b, spans[1].top, plan.bits_b, plan.slices_b, 0)
    assert len(cut_a) <= plan.slices_a
    for whole, parts in ((a, cut_a), (b, cut_b)):
        for index in np.ndindex(whole.shape):
            assert sum(Fraction(x[index]) for x in parts) == Fraction(whole[index])
    products = list(slicing.exact_products(cut_a, cut_b))
    pairs = sorted(((i, j) for i in range(len(cut_a)) for j in range(len(cut_b))), key=sum, reverse=True)
    for (i, j), product in list(zip(pairs, products, strict=True))[:: max(1, len(pairs) // 12)]:
        assert Fraction(product[0, 0]) == rational.rational_dot(cut_a[i][0], cut_b[j][:, 0])


def test_zero_slices_are_skipped():
    a = np.ldexp(np.ones((2, 2)), [[0, 0], [-300, -300]])
    top, _ = certificate.span(a, 1)
    assert len(slicing.slices(a, top, 10, 60, 1)) == 1
