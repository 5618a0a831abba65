"""Planted faults: each would make a truth wrong, and what holds the truth against Fractions must say so."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.references import certificate, eft, ladder, rational, safe_range, slicing, special
from lastbit.references.certificate import Span
from lastbit.references.gemm import truth
from lastbit.suites.meta.exact_gemm import everywhere, faults, slices_at_any_price


def operands(recipe):
    random = np.random.default_rng(9)
    a, b = random.standard_normal((6, 50)), random.standard_normal((50, 5))
    if recipe == "f32":
        a, b = a.astype(np.float32).astype(float), b.astype(np.float32).astype(float)
    if recipe == "27 bits":  # products of 54 bits: just beyond the certificate
        a, b = (2 * random.integers(2**25, 2**26, shape).astype(float) + 1 for shape in ((6, 3), (3, 5)))
    if recipe == "wide":
        a = np.ldexp(a, random.integers(-1000, 900, a.shape))
    return a, b


@pytest.fixture(autouse=True)
def slices_rather_than_integers():
    with slices_at_any_price():
        yield


def found_wrong(recipe, **more):
    a, b = operands(recipe)
    t = truth(a, b, **more)
    return faults(t, a, b, everywhere(t), **more)


@pytest.mark.parametrize("recipe", ["f32", "f64", "27 bits", "wide"])
def test_nothing_is_wrong_without_a_fault(recipe):
    assert found_wrong(recipe) == []


def test_a_dropped_slice_is_caught(monkeypatch):
    slices = slicing.slices
    monkeypatch.setattr(slicing, "slices", lambda *args: slices(*args)[:-1] or slices(*args))
    assert found_wrong("f32")


def test_a_dropped_smallest_product_is_caught(monkeypatch):
    products = slicing.exact_products
    monkeypatch.setattr(slicing, "exact_products", lambda a, b: list(products(a, b))[1:])
    assert found_wrong("f64")


@pytest.mark.parametrize("bits", [4, 8])
def test_slices_too_wide_to_multiply_exactly_are_caught(monkeypatch, bits):
    plan = slicing.plan

    def greedy(span_a, span_b, terms):
        cut = plan(span_a, span_b, terms)
        return cut._replace(bits_a=cut.bits_a + bits, bits_b=cut.bits_b + bits)

    monkeypatch.setattr(slicing, "plan", greedy)
    assert found_wrong("f64")


@pytest.mark.parametrize("bits", [3, 4, 40])
def test_a_certificate_that_is_too_generous_is_caught(monkeypatch, bits):
    certified = certificate.certified
    monkeypatch.setattr(certificate, "certified", lambda weight, *low: certified(weight * 0.5**bits, *low))
    assert found_wrong("27 bits")


@pytest.mark.parametrize("bits", [2, 10])
def test_a_lowest_bit_that_is_too_high_is_caught(monkeypatch, bits):
    span = safe_range.span

    def raised(*args):
        top, low = span(*args)
        return Span(top, np.minimum(low + bits, top))

    monkeypatch.setattr(safe_range, "span", raised)
    assert found_wrong("27 bits")


def test_a_dropped_lo_is_caught(monkeypatch):
    rounded = eft.rounded_once

    def dropped(terms):
        hi, lo, radius, proved = rounded(terms)
        return hi, np.zeros_like(lo), radius, proved

    monkeypatch.setattr(eft, "rounded_once", dropped)
    assert found_wrong("f32")


def test_a_lo_rounded_to_nearest_is_caught(monkeypatch):
    """Rounding to odd is what keeps 1 + 2^-53 - 2^-1000 from looking like a tie."""
    a, b = np.array([[1 + 2.0**-52, 2.0**-53, -(2.0**-600)]]), np.ones((3, 1))
    assert faults(truth(a, b), a, b, [(0, 0)]) == []
    monkeypatch.setattr(eft, "to_odd", lambda x, rest: x)
    assert any("f64 nearest-even" in line for line in faults(truth(a, b), a, b, [(0, 0)]))


def test_unbroken_ties_are_caught(monkeypatch):
    a, b = np.array([[1.0, 2.0**-53, 2.0**-600]]), np.ones((3, 1))
    assert faults(truth(a, b), a, b, [(0, 0)]) == []
    monkeypatch.setattr(eft, "_break_ties", lambda x: False)
    assert faults(truth(a, b), a, b, [(0, 0)])


def test_sums_that_are_not_settled_are_caught(monkeypatch):
    monkeypatch.setattr(eft, "_settle", lambda x: np.ones(x[0].shape, bool))
    assert found_wrong("f64")


def test_a_radius_of_zero_is_caught(monkeypatch):
    climb = ladder.climb
    monkeypatch.setitem(
        truth.__globals__, "climb", lambda *args: replace(climb(*args), radius=np.zeros_like(climb(*args).radius))
    )
    assert found_wrong("f64")


@pytest.mark.parametrize("factor", [1 - 2.0**-45, 1 + 2.0**-43])
def test_a_weight_that_is_off_is_caught(monkeypatch, factor):
    raised = ladder._raised
    monkeypatch.setattr(ladder, "_raised", lambda *args: raised(*args) * factor)
    assert found_wrong("f32")


def test_a_scaling_that_is_forgotten_is_caught(monkeypatch):
    scaled = ladder.scaled

    def forgetful(*args):
        work = scaled(*args)
        return replace(work, up_a=np.zeros_like(work.up_a), up_b=np.zeros_like(work.up_b))

    monkeypatch.setattr(ladder, "scaled", forgetful)
    assert found_wrong("f32", alpha=2.0)


def test_an_alpha_rounded_into_a_is_caught(monkeypatch):
    exact = eft.two_product
    monkeypatch.setattr(eft, "two_product", lambda a, b: (exact(a, b)[0], np.zeros_like(a)))
    assert found_wrong("f32", alpha=1 / 3)


def test_a_truncating_last_rung_is_caught(monkeypatch):
    pair = rational.rounded_pair
    monkeypatch.setattr(rational, "rounded_pair", lambda n, e: pair(n >> 1900 << 1900, e))
    assert found_wrong("wide")


def test_a_zero_times_infinity_that_passes_is_caught(monkeypatch):
    a, b = np.array([[0.0, 1.0]]), np.array([[np.inf], [1.0]])
    assert np.isnan(truth(a, b).hi[0, 0])
    monkeypatch.setattr(special, "special_product", lambda a, b: np.zeros((a.shape[0], b.shape[1])))
    assert truth(a, b).hi[0, 0] == 1  # what the class test of test_truth_special refuses
