"""Vacuity: budgets that would accept a wrong answer are named, others are not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.contract import Contract
from lastbit.gemm_budget import budget
from lastbit.references import gemm
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.vacuity import COUNTERFEITS, FIRST, shuffled, vacuity

Array = NDArray[np.float64]
PLAIN = Contract(accumulator="f32")


def truth_of(x: Array) -> Truth:
    zero = np.zeros(x.shape)
    return Truth(x, zero, zero, np.abs(np.where(np.isfinite(x), x, 0)), "given")


def budget_of(allowed: Array | float, **fields: Array) -> Budget:
    return Budget(np.asarray(allowed, np.float64), "a test's", "a test", **fields)  # type: ignore[arg-type]


def errors(x: Array) -> dict[str, float]:
    """The largest error of each counterfeit of `x`."""
    return {
        name: float(np.abs(counterfeit(x.reshape(-1), np.arange(x.size)) - x.reshape(-1)).max())
        for name, counterfeit in COUNTERFEITS.items()
        if name != "NaN"
    }


@pytest.mark.parametrize("shape", [(5,), (40, 30), (FIRST + 1, 3)])
def test_a_counterfeit_is_accepted_where_the_bound_covers_its_largest_error(shape: tuple[int, ...]) -> None:
    """The bound just above each counterfeit's own error names exactly those whose error is not larger."""
    x = np.random.default_rng(1).standard_normal(shape)
    sizes = errors(x)
    for limit in sizes.values():
        said = vacuity("f64", truth_of(x), budget_of(limit * (1 + 1e-9)), PLAIN)
        named = {name for name in COUNTERFEITS if name in said}
        assert named == {name for name, error in sizes.items() if error <= limit}
        said = vacuity("f64", truth_of(x), budget_of(limit * (1 - 1e-9)), PLAIN)
        assert {name for name in COUNTERFEITS if name in said} == {n for n, error in sizes.items() if error < limit}


def test_counterfeits_are_what_they_are_called() -> None:
    x, i = np.array([1.0, -2.0, 4.0, 8.0]), np.arange(4)
    offered = {name: counterfeit(x, i).tolist() for name, counterfeit in COUNTERFEITS.items()}
    assert offered["2 % too large"] == [1.02, -2.04, 4.08, 8.16]
    assert offered["the double"] == [2.0, -4.0, 8.0, 16.0]
    assert offered["the opposite sign"] == [-1.0, 2.0, -4.0, -8.0]
    assert (offered["zeros"], offered["a constant"]) == ([0.0] * 4, [2.75] * 4)
    assert sorted(offered["a shuffle"]) == sorted(x)
    assert all(a != b for a, b in zip(offered["a shuffle"], x, strict=True))
    assert np.isnan(offered["NaN"]).all()


def test_one_refused_element_among_many_is_enough() -> None:
    """The element that refuses is found wherever it is."""
    x = np.random.default_rng(2).standard_normal((300, 40)) + 3
    for flat in (0, 1, 5000, x.size - 1):
        allowed = np.full(x.shape, 1e3)
        allowed.reshape(-1)[flat] = 1e-9
        assert vacuity("f32", truth_of(x), budget_of(allowed), PLAIN) == ""
    assert "zeros" in vacuity("f32", truth_of(x), budget_of(1e3), PLAIN)


def test_derived_budgets_are_not_vacuous_and_a_hopeless_accumulator_is() -> None:
    rng = np.random.default_rng(3)
    a, b = (Operand.of(rng.random(shape), "bf16") for shape in ((24, 128), (128, 20)))
    truth = gemm.truth(a.values, b.values)
    for accumulator, empty in (("f32", True), ("bf16", False)):
        contract = Contract(accumulator=accumulator)
        allowed = budget(contract, {"a": "bf16", "b": "bf16", "out": "bf16"}, {"a": a, "b": b}, truth)
        assert (vacuity("bf16", truth, allowed, contract) == "") is empty


def test_the_right_answer_is_no_counterfeit() -> None:
    """Zeros are right for zeros, a shuffle for a constant, and the double of an infinity."""
    for x in (np.zeros((3, 3)), np.full((2, 2), np.inf), np.full((2, 2), np.nan)):
        said = vacuity("f32", truth_of(x), budget_of(0.0, overflow_slack=np.zeros(1)), PLAIN)
        assert said == ""
    constant = np.full((4, 4), 3.0)
    assert vacuity("f32", truth_of(constant), budget_of(0.0), PLAIN) == ""
    loose = vacuity("f32", truth_of(constant), budget_of(0.1), PLAIN)
    assert "2 %" in loose
    assert "constant" not in loose
    assert "shuffle" not in loose


def test_a_few_infinities_refuse_nothing_for_the_rest() -> None:
    x = np.random.default_rng(4).standard_normal((20, 20))
    x[3, 4], x[5, 6] = np.nan, np.inf
    assert "2 %" in vacuity("f32", truth_of(x), budget_of(1.0, overflow_slack=np.zeros(1)), PLAIN)


def test_nan_is_accepted_only_where_everything_is() -> None:
    x = np.random.default_rng(5).standard_normal((9, 9))
    lost = budget_of(1e-9, overflow_slack=np.full((9, 9), np.inf))
    assert vacuity("f16", truth_of(x), lost, PLAIN) == "the budget would also accept NaN"
    lost.overflow_slack[0, 0] = 0.0  # type: ignore[index]
    assert vacuity("f16", truth_of(x), lost, PLAIN) == ""


def test_counterfeits_are_rounded_as_a_kernel_would() -> None:
    """An 8-bit format rounds 2 % away: what it cannot tell from the truth is not offered, the rest is refused."""
    fmt = Format.of("e4m3fn")
    x = fmt.decode(np.arange(8, 120, dtype=np.uint8))
    assert vacuity(fmt, truth_of(x), budget_of(fmt.ulp(x) / 2), PLAIN) == ""
    wide = vacuity(fmt, truth_of(x), budget_of(fmt.ulp(x)), PLAIN)
    assert wide == ""  # 2 % too large is the truth itself here, and nothing else is within one step
    moved = x + 0.49 * fmt.ulp(x)
    assert "2 % too large" in vacuity(fmt, truth_of(moved), budget_of(fmt.ulp(x)), PLAIN)


def test_integers_and_formats_without_nan_are_offered_what_they_can_hold() -> None:
    x = np.arange(-20.0, 60.0).reshape(8, 10)
    for name in ("i8", "e2m1fn"):
        values = x if name == "i8" else np.clip(x / 10, -6, 6)
        contract = replace(PLAIN, overflow="saturate")
        assert vacuity(name, truth_of(values), budget_of(0.3), contract) == ""
        assert "the double" in vacuity(name, truth_of(values), budget_of(200.0), contract)


def test_no_elements_no_vacuity() -> None:
    assert vacuity("f32", truth_of(np.zeros((0, 4))), budget_of(np.zeros((0, 4))), PLAIN) == ""


def test_a_shuffle_moves_every_element_far_and_loses_none() -> None:
    """Neighbours are often alike: no element may go to one of them, in rows of any usual length."""
    for size in (2, 3, 5, 8, 100, 4096):
        places = shuffled(np.arange(size), size)
        assert sorted(places) == list(range(size))
        moved = (places - np.arange(size)) % size
        assert (moved == moved[0]).all()
        assert moved[0] == max(1, int(size * 0.381966))  # by the golden section, of all the least like any period
    assert shuffled(np.arange(1), 1).tolist() == [0]
    assert shuffled(np.arange(0), 0).size == 0


def test_the_constant_is_the_mean_of_what_is_finite_or_zero() -> None:
    everywhere = COUNTERFEITS["a constant"]
    for x, mean in (
        ([1.0, 2.0, 6.0], 3.0), ([np.nan, 1.0, np.inf, 3.0], 2.0), ([np.nan, np.inf], 0.0), ([1.7e308] * 4, 0.0),
    ):  # fmt: skip
        with np.errstate(over="ignore"):
            assert everywhere(np.array(x), np.arange(2)).tolist() == [mean, mean]


def test_special_elements_of_the_truth_neither_accept_nor_refuse_for_the_rest() -> None:
    """A truth of NaN and infinities beside numbers: as vacuous, and by the same names, as the numbers alone."""
    numbers = np.random.default_rng(6).uniform(1, 2, 64)
    for specials in ([np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf]):
        x = np.concatenate([numbers, specials])
        for limit, names in ((1e-6, set()), (0.05, {"2 % too large"}), (9.0, set(COUNTERFEITS) - {"NaN"})):
            for window in (0.0, np.inf):
                said = vacuity("f32", truth_of(x), budget_of(limit, overflow_slack=np.full(x.shape, window)), PLAIN)
                nan = {"NaN"} if window and not set(specials) - {np.nan} else set()
                assert {name for name in COUNTERFEITS if name in said} == names | nan, (specials, limit, window)


def test_a_truth_without_a_number_shows_nothing_in_formats_with_and_without_nan() -> None:
    x = np.array([np.nan, 1.0, 2.0, 3.0])
    for name in ("e2m1fn", "i8"):
        assert vacuity(name, truth_of(x), budget_of(0.0), PLAIN) == ""
        assert "the double" in vacuity(name, truth_of(x), budget_of(100.0), PLAIN)


def test_a_single_accepted_counterfeit_is_named_alone_and_more_are_listed() -> None:
    x = np.random.default_rng(7).uniform(1, 2, 50)
    assert vacuity("f32", truth_of(x), budget_of(0.05), PLAIN) == "the budget would also accept 2 % too large"
    said = vacuity("f32", truth_of(x), budget_of(1.0), PLAIN)
    assert said == "the budget would also accept a constant, a shuffle and 2 % too large"


def test_every_element_is_shown_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """One element refuses: wherever it is, around the ends of every piece."""
    monkeypatch.setattr("lastbit.vacuity.PIECE", 100)
    x = np.random.default_rng(8).uniform(1, 2, FIRST + 137)
    for flat in (0, 1, 2, 99, 100, 101, FIRST - 1, FIRST, FIRST + 1, x.size - 2, x.size - 1):
        allowed = np.full(x.shape, 1e3)
        allowed[flat] = 1e-9
        assert vacuity("f32", truth_of(x), budget_of(allowed), PLAIN) == ""
