"""The text of a failure: what a wrong output is said to resemble."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.failure_text import class_name, diagnose, element, number, place, share

Array = NDArray[np.float64]
WANT = np.random.default_rng(1).standard_normal((12, 12)) + np.arange(12)
TALL = np.random.default_rng(2).standard_normal((5, 9))


def changed(x: Array, where: object, value: float) -> Array:
    y = x.copy()
    y[where] = value  # type: ignore[index]
    return y


@pytest.mark.parametrize(("want", "wrong", "said"), [
    (WANT, lambda x: 0 * x, "the output is all zeros"),
    (WANT, lambda x: x * np.nan, "the output is all NaN"),
    (WANT, lambda x: 0 * x + 3, "the output is 3 everywhere"),
    (WANT, lambda x: 2 * x, "the output is twice the right one"),
    (WANT, lambda x: x / 2, "the output is half the right one"),
    (WANT, lambda x: -x, "the output is the negative of the right one"),
    (WANT, lambda x: x.T, "the output is the transpose of the right one"),
    (TALL, lambda x: np.ascontiguousarray(x.T).reshape(5, 9),
     "the output holds the transpose of the right one in memory"),
    (WANT, lambda x: np.roll(x, 1, 0), "the output is the right one with its rows moved by +1"),
    (WANT, lambda x: np.roll(x, -1, 1), "the output is the right one with its columns moved by -1"),
    (TALL, lambda x: x[[3, 1, 4, 0, 2]], "the output is the right one with its rows in another order"),
    (TALL, lambda x: x[:, [3, 1, 4, 0, 2, 8, 7, 5, 6]],
     "the output is the right one with its columns in another order"),
    (WANT, lambda x: changed(x, (slice(None), slice(-2, None)), 99), "only the last 2 of 12 columns are wrong"),
    (WANT, lambda x: changed(x, slice(-3, None), 99), "only the last 3 of 12 rows are wrong"),
    (WANT, lambda x: changed(x, 4, 99), "only row 4 of 12 is wrong"),
    (WANT, lambda x: changed(x, (slice(None), 0), 99), "only column 0 of 12 is wrong"),
    (WANT, lambda x: x + 50 * np.random.default_rng(3).standard_normal(x.shape), ""),
    (WANT[0], lambda x: 2 * x, "the output is twice the right one"),
    (np.stack([TALL, TALL + 1]), lambda x: -x, "the output is the negative of the right one"),
])  # fmt: skip
def test_diagnosis_names_what_the_output_resembles(want: Array, wrong: Callable[[Array], Array], said: str) -> None:
    y = wrong(want)
    noise = 1 + 2.0**-9 * np.random.default_rng(4).uniform(-1, 1, y.shape)  # rounding does not hide it
    for seen in (y, y * np.where(y == y.flat[0], 1.0, noise)):
        mask = np.abs(seen - want) > 0.01 * np.abs(want)
        mask |= np.isnan(seen)
        assert diagnose(seen, want, mask) == said


def test_scalars_and_single_elements_have_no_diagnosis() -> None:
    for shape in ((), (1,), (1, 1)):
        assert diagnose(np.zeros(shape), np.ones(shape), np.ones(shape, bool)) == ""


def test_parts_of_the_text() -> None:
    assert element("max error 18.45 ulp", "(1, 1)", 0.0390625, 0.03455829620361328) == (
        "max error 18.45 ulp at (1, 1): got 0.0390625, want 0.03455829620361328"
    )
    assert [number(x) for x in (3.0, -0.5, 1e300, float("inf"), float("nan"))] == ["3", "-0.5", "1e+300", "inf", "nan"]
    assert (place(5, (2, 3)), place(0, ()), place(2, (4,))) == ("(1, 2)", "()", "(2,)")
    assert (share(3, 64), share(1, 1)) == ("3 of 64 elements", "the only element")
    names = [class_name(x) for x in (float("nan"), float("-inf"), -0.0, 2.0)]
    assert names == ["NaN", "infinity", "zero", "a finite value"]


def test_wrongly_rounded_elements_are_not_said_to_have_moved() -> None:
    """Rows that are close to one another look like one another in any order; truncation moves nothing."""
    want = 16.0 + np.arange(24.0).reshape(4, 6) / 16
    truncated = np.floor(want * 2) / 2
    assert diagnose(truncated, want, truncated != want) == ""
    apart = want * [[1], [8], [64], [512]]
    assert "rows in another order" in diagnose(apart[[2, 0, 3, 1]], apart, np.ones(want.shape, bool))
