"""One operation of a format's arithmetic is the exact result rounded once: against rational arithmetic."""

from collections.abc import Callable
from fractions import Fraction
from math import inf

import numpy as np
import pytest

from lastbit.references import one_rounding
from lastbit.references.formats import Format

OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fmt", ["f16", "bf16", "f32", "e4m3fn", "f64"])
def test_operations_are_rounded_once(name: str, fmt: str) -> None:
    """Random significands, close operands, ties, results that are subnormal and that overflow."""
    rng, wanted = np.random.default_rng(len(name) + len(fmt)), Format.of(fmt)
    spread = 3 if fmt == "f64" else wanted.emax // 2
    x, y = (
        wanted.round(rng.uniform(1, 2, 400) * 2.0 ** rng.integers(-spread, spread + 1, 400) * rng.choice([-1, 1], 400))
        for _ in range(2)
    )
    y[:50] = wanted.round(x[:50] * (1 + wanted.u * rng.integers(1, 5, 50)))
    found = getattr(one_rounding, name)(x, y, fmt)
    for a, b, got in zip(x, y, found, strict=True):
        want = wanted.round_rational(OPERATIONS[name](Fraction(float(a)), Fraction(float(b))))
        assert got == want or (np.isnan(got) and np.isnan(want)), (a, b)


def test_a_float64_of_25_bits_may_be_the_second_operand() -> None:
    x = np.array([1.0, 3.0, 0.7])
    x = Format.of("f32").round(x)
    for y in (1 + 2.0**-24, 1.0 / 3.0 // 2.0**-25 * 2.0**-25):
        for a, got in zip(x, one_rounding.multiply(x, y, "f32"), strict=True):
            assert got == Format.of("f32").round_rational(Fraction(float(a)) * Fraction(y))


def test_division_by_zero_and_overflow_are_ieee_754s() -> None:
    with np.errstate(all="raise"):
        found = one_rounding.divide(np.array([1.0, -1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, inf]), "f32")
        assert found[:2].tolist() == [inf, -inf]
        assert np.isnan(found[2])
        assert found[3] == 0
        assert one_rounding.multiply(np.array([1e38]), 1e38, "f32").tolist() == [inf]
        assert one_rounding.add(np.array([65504.0]), 65504.0, "f16").tolist() == [inf]


@pytest.mark.parametrize("fmt", ["i8", "e8m0fnu", "binary"])
def test_arithmetic_of_other_formats_is_refused(fmt: str) -> None:
    with pytest.raises(
        ValueError, match="binary" if fmt == "binary" else "a float format of at most 25 significant bits"
    ):
        one_rounding.add(np.ones(1), np.ones(1), fmt)
