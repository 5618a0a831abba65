"""Parts of the GEMM law that a smoke run hardly shows: case ids, the search, and large shapes proved in part."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.errors import UsageError
from lastbit.kernel import Kernel
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites import gemm, gemm_hunt, gemm_large
from lastbit.suites.gemm_proof import Given, inputs, proof, sizes
from lastbit.suites.gemm_trial import judge_unique, obtain
from lastbit.suites.zoo import gemm_faults
from lastbit.suites.zoo import gemm_parts as parts
from lastbit.suites.zoo.specimen import kernel
from lastbit.verdict import Outcome
from lastbit.verify import verify


def trial(run: Callable[..., Any], case: str, formats: dict[str, str] = parts.F32, **fields: Any) -> Trial:
    kernel = Kernel("zoo/one", "gemm", run, formats, framework="numpy", devices=("cpu",))
    return Trial(kernel, formats, resolved(Contract(), formats), "cpu", Case.parse(case), **fields)


def product(a: Any, b: Any) -> Any:
    return np.matmul(parts.f32(a), parts.f32(b)).astype(a.dtype)


@pytest.mark.parametrize("check", gemm.CHECKS, ids=lambda check: check.name)
def test_case_ids_are_unique_and_parse_to_the_case_that_they_name(check: Any) -> None:
    ids = [case.id for case in check.cases]
    assert len(set(ids)) == len(ids)
    for case in check.cases:
        again = Case.parse(case.id)
        assert (again.id, again.recipe, again.sizes, again.layout) == (case.id, case.recipe, case.sizes, case.layout)
        assert dict(again.options) == dict(case.options)


@pytest.mark.parametrize("text", ["", "normal", "normal/", "normal/17-33", "/m1-n1-k1", "normal/m1-q2"])
def test_text_that_is_no_case_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected recipe/m17-n33-k65"):
        Case.parse(text)


def test_words_for_sizes_follow_the_kernels_tile_and_contract() -> None:
    one = trial(product, "integers/movertile-nundertile-klong")
    tiled = replace(one, kernel=replace(one.kernel, tile={"m": 64, "n": 16}))
    assert sizes(tiled) == {"m": 65, "n": 15, "k": 2048}
    narrow = replace(tiled, contract=Contract(accumulator="f16"))
    assert sizes(narrow)["k"] == 8, "8 * 2^-11 is the longest f16 sum that is still told from one 2 % too large"


def test_hunt_shrinks_a_fault_to_its_smallest_case_and_names_it() -> None:
    """Wrong where m is 3 or more and k odd: nothing smaller than m3-n1-k1 shows it."""

    def faulty(a: Any, b: Any) -> Any:
        out = product(a, b)
        return out * 2 if a.shape[-2] >= 3 and a.shape[-1] % 2 else out

    verdict = gemm_hunt.hunt(trial(faulty, "normal/m1-n1-k1", tier="standard"))
    assert verdict.outcome is Outcome.OVER_BUDGET
    shrunk = Case.parse(verdict.notes["shrunk case"])
    assert dict(shrunk.sizes) == {"m": 3, "n": 1, "k": 1}
    assert shrunk.layout == "contiguous"
    assert f"case {shrunk.id}" in verdict.reason
    report = verify(
        Kernel("zoo/one", "gemm", faulty, parts.F32, framework="numpy", devices=("cpu",)),
        seed=int(verdict.notes["shrunk seed"]),
        case=f"{verdict.notes['shrunk check']} {shrunk.id}",
    )
    assert [finding.case_id for finding in report.findings if finding.outcome.failed] == [shrunk.id]


def test_hunt_passes_an_honest_kernel_and_depends_on_the_seed_alone() -> None:
    seen: list[tuple[int, ...]] = []

    def watched(a: Any, b: Any) -> Any:
        seen.append(a.shape)
        return product(a, b)

    first = gemm_hunt.hunt(trial(watched, "normal/m1-n1-k1", tier="smoke"))
    calls, seen = seen, []
    again = gemm_hunt.hunt(trial(watched, "normal/m1-n1-k1", tier="smoke"))
    assert first.outcome is again.outcome is Outcome.PASS
    assert calls == seen
    assert len(set(calls)) > 5


def bad_tile(a: Any, b: Any) -> Any:
    out = product(a, b)
    out[64:128, 64:128] = out[64:128, 64:128][::-1]
    return out


def bad_element(a: Any, b: Any) -> Any:
    out = product(a, b)
    out[77, 91] = -300 * abs(out[77, 91]) - 300
    return out


def nan_element(a: Any, b: Any) -> Any:
    out = product(a, b)
    out[77, 91] = np.nan
    return out


@pytest.mark.parametrize(
    ("run", "outcome", "said"),
    [
        (product, Outcome.PASS, ""),
        (bad_tile, Outcome.OVER_BUDGET, "were proved"),
        (bad_element, Outcome.OVER_BUDGET, "checksum of 1 of 200 rows"),
        (nan_element, Outcome.WRONG_CLASS, "nan at (77, 91)"),
        (gemm_faults.f16_accumulator, Outcome.OVER_BUDGET, "were proved"),
    ],
    ids=["honest", "bad tile", "bad element", "nan element", "f16 accumulator"],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_product_too_large_to_prove_is_held_by_rows_columns_and_checksum(
    run: Callable[..., Any], outcome: Outcome, said: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemm_large, "WHOLE", 0)
    rows, columns = 77, 91  # a proved row or column would find the single elements first
    monkeypatch.setattr(
        gemm_large, "_one_of_each_band", lambda rng, size: np.setdiff1d(np.arange(3, size, 40), [rows, columns])
    )
    verdict = gemm_large.large(trial(run, "normal/m200-n210-k220", seed=seed))
    assert verdict.outcome is outcome, verdict.reason
    assert said in verdict.reason
    if outcome is Outcome.PASS:
        assert verdict.notes["proved"].endswith("all rows by checksum")


def test_bands_cross_every_tile() -> None:
    for size in (1, 63, 64, 65, 200):
        chosen = gemm_large._one_of_each_band(np.random.default_rng(0), size)
        assert [int(index) // gemm_large.BAND for index in chosen] == list(range(-(-size // gemm_large.BAND)))
        assert (chosen < size).all()


@pytest.mark.parametrize("formats", [parts.F32, parts.F16, parts.BF16], ids=["f32", "f16", "bf16"])
@pytest.mark.parametrize("seed", range(3))
def test_checksum_allows_at_least_what_the_budget_allows(formats: dict[str, str], seed: int) -> None:
    """The cheap bound has norms for |A||B|: it may be wider than the budget, never narrower than an honest error."""
    one = trial(parts.honest, "normal/m40-n50-k60", formats, seed=seed)
    given = inputs(one)
    got = obtain(one, given)
    a, b = given.operands["a"].values, given.operands["b"].values
    y = Format.of(formats["out"]).decode(got.codes)
    truth = proof(one, given).truth
    error = np.abs((y - truth.hi) - truth.lo)
    assert (error <= gemm_large._allowed(one, a, b, y)).all()


def test_unique_answer_that_is_zero_everywhere_shows_nothing() -> None:
    one = trial(product, "integers/m3-n4-k8")
    given = inputs(one)
    a, b = (given.operands[name].values.copy() for name in "ab")
    a[:, 4:], b[4:] = -a[:, :4], b[:4]
    cancelled = Given({"a": Operand.of(a, "f32"), "b": Operand.of(b, "f32")})
    assert judge_unique(one, cancelled, obtain(one, cancelled)).outcome is Outcome.VACUOUS
    wrong = replace(one, kernel=replace(one.kernel, run=lambda a, b: product(a, b) + 1))
    assert judge_unique(wrong, cancelled, obtain(wrong, cancelled)).outcome is Outcome.OVER_BUDGET


@pytest.mark.parametrize("seed", range(8))
def test_closed_form_is_the_truth_of_rank_one_data(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = "rank_one/m70-n60-k50"
    for whole in (2**28, 0):
        monkeypatch.setattr(gemm_large, "WHOLE", whole)
        assert gemm_large.large(trial(product, case, parts.BF16, seed=seed)).outcome is Outcome.PASS
        swapped = gemm_large.large(trial(lambda a, b: product(a, b)[::-1].copy(), case, parts.BF16, seed=seed))
        assert swapped.outcome is Outcome.OVER_BUDGET


def test_case_of_a_recipe_that_is_none_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="recipe is 'norml', expected one of integers, "):
        verify(kernel("one", "gemm", product, parts.F32, Contract()), case="bound norml/m3-n4-k5")
