"""Truth and budget of paged attention, its providers, and the harness for kernels that change their operands."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import mpmath
import numpy as np
import pytest

from lastbit import paged_budget
from lastbit.attention_budget import budget as attention_budget
from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.errors import UsageError
from lastbit.harness import call
from lastbit.kernel import Kernel, KernelError
from lastbit.references import paged
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import attention_referee
from lastbit.references.formats import Format
from lastbit.references.kv_append_data import appends
from lastbit.references.kv_cache_data import RECIPES, CacheData
from lastbit.references.kv_cache_data import paged as draw
from lastbit.references.kv_pages import ARRANGEMENTS
from lastbit.suites import kv_append
from lastbit.suites import paged as law
from lastbit.verdict import Outcome
from lastbit.verify import verify

FP8 = {"q": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "bf16"}
F32 = {"q": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}
SIZES = {"b": 4, "hq": 4, "hkv": 2, "lq": 2, "d": 8, "dv": 6, "block": 4, "len": 11}
CONTRACT = Contract(accumulator="f32")


def data(recipe: str = "sharp", formats: dict[str, str] = FP8, **changes: Any) -> CacheData:
    return draw(recipe, formats, {**SIZES, **{k: v for k, v in changes.items() if k in SIZES}}, changes.get("seed", 0))


# Truth --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": (3, 0)}, {"causal": True, "window": (2, 0)}])
@pytest.mark.parametrize("recipe", ["normal", "sharp", "increasing"])
def test_truth_is_the_referees_over_the_gathered_dequantized_tokens(recipe: str, options: dict[str, Any]) -> None:
    posed = paged.problems(data(recipe).operands, **options)
    truth = paged.joined([each.out for each in paged.truths(posed)])
    for sequence, problem in enumerate(posed):
        want, _ = attention_referee(problem, 0, 3, 1)
        for column, value in enumerate(want):
            error = abs(value - mpmath.mpf(float(truth.hi[sequence, 3, 1, column])))
            assert error <= truth.radius[sequence, 3, 1, column]


def test_problems_hold_each_sequences_own_tokens() -> None:
    drawn = data("normal")
    posed, places = paged.problems(drawn.operands), paged.layout(drawn.operands)
    for sequence, problem in enumerate(posed):
        for token, slot in enumerate(places.slots(sequence).tolist()):
            for head in range(2):
                for name, held in (("k", problem.k), ("v", problem.v)):
                    stored = drawn.operands[f"{name}_cache"].values[slot // 4, slot % 4, head]
                    scale = drawn.operands[f"{name}_scale"].values[head]
                    assert np.array_equal(held[0, head, token], stored * scale)


@pytest.mark.parametrize("formats", [FP8, F32, {**F32, "q": "f64", "k_cache": "f64", "v_cache": "f64", "out": "f64"}])
def test_selected_is_the_exact_answer_rounded(formats: dict[str, str]) -> None:
    """exp(-gap) is far below half an ulp of the output, by the referee."""
    drawn = draw("one_hot", formats, {**SIZES, "lq": 1}, 1)
    for problem in paged.problems(drawn.operands):
        truth = paged.selected(problem, gap=104.0)
        for head in range(4):
            want, _ = attention_referee(problem, 0, head, 0)
            for column, value in enumerate(want):
                got = float(truth.hi[0, head, 0, column])
                assert abs(value - mpmath.mpf(got)) <= Format.of(formats["out"]).ulp(got) * 2.0**-20


def test_selected_refuses_data_of_another_kind() -> None:
    for problem in paged.problems(data("normal", len=11).operands)[:1]:
        with pytest.raises(ValueError, match="expected 1 of each row"):
            paged.selected(problem, gap=104.0)


def test_format_error_is_that_of_the_cache_alone() -> None:
    drawn = data("normal", b=4)
    posed = paged.problems(drawn.operands)
    coarse = paged.format_error_db(posed, drawn.operands, drawn.original_k, drawn.original_v)
    assert 15 < coarse < 45
    scaled = [drawn.operands[f"{x}_cache"].values * drawn.operands[f"{x}_scale"].values[:, None] for x in "kv"]
    assert paged.format_error_db(posed, drawn.operands, *scaled) == np.inf


# Budget -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["normal", "sharp", "increasing"])
@pytest.mark.parametrize("unit", [2.0**-6, 2.0**-10])
def test_perturbation_bounds_what_dequantization_can_do(
    recipe: str, unit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values off by up to `unit`, by the worst and by random signs, stay within the derived term."""
    monkeypatch.setattr(paged_budget, "DEQUANTIZED", unit)
    rng = np.random.default_rng(7)
    largest = 0.0
    for problem, truth in _posed(data(recipe, formats=F32, lq=1)):
        allowed, growth = paged_budget._perturbation(problem, truth)
        assert growth > 1
        for turn in range(20):
            signs = [rng.choice([-1.0, 1.0], x.shape) for x in (problem.k, problem.v)]
            if turn % 2:  # toward or away from the query, and from the result
                signs[0] = np.sign(problem.k) * np.sign(np.repeat(problem.q[:, :2], problem.k.shape[2], axis=2))
            moved = replace(problem, k=problem.k * (1 + unit * signs[0]), v=problem.v * (1 + unit * signs[1]))
            error = np.abs(paged.truths([moved])[0].out.hi - truth.out.hi)
            assert (error <= allowed + 2 * truth.out.radius).all()
            largest = max(largest, float((error / allowed).max()))
    assert largest > 0.2  # the term is not idle


def test_budget_is_attentions_where_scales_are_powers_of_two() -> None:
    posed = _posed(data("normal", formats=F32, lq=1))
    problems, truths = [p for p, _ in posed], [t for _, t in posed]
    whole = paged_budget.budget(CONTRACT, F32, problems, truths, quantized=False)
    wider = paged_budget.budget(CONTRACT, F32, problems, truths, quantized=True)
    formats = {"q": "f32", "k": "f32", "v": "f32", "out": "f32"}
    for row, (problem, truth) in enumerate(posed):
        single, _ = attention_budget(CONTRACT, formats, problem, truth)
        assert np.array_equal(whole.allowed[row], np.broadcast_to(single.allowed, truth.out.hi.shape)[0])
        assert (wider.allowed[row] > single.allowed[0]).all()
    assert whole.terms == wider.terms == max(problem.k.shape[2] for problem in problems)
    assert "dequantization" in wider.formula
    assert "dequantization" not in whole.formula


def test_budget_is_not_vacuous_on_the_laws_data() -> None:
    """A PASS of every case of a 16-bit and of an 8-bit cache tells right from wrong."""
    from lastbit.providers.numpy_paged import kernels

    f16 = dict.fromkeys(("q", "k_cache", "v_cache", "out"), "f16")
    report = verify(replace(kernels()[0], formats=(f16, FP8)), tier="smoke", seed=5)
    judged = [record for record in report.records if record.outcome is not Outcome.NOT_TESTED]
    assert {record.outcome for record in judged} == {Outcome.PASS}


def test_bound_reports_what_the_format_costs() -> None:
    from lastbit.providers.numpy_paged import kernels

    report = verify(replace(kernels()[0], formats=FP8), tier="smoke")
    notes = [record.notes["format error"] for record in report.records if "format error" in record.notes]
    assert notes
    assert all(note.startswith("e4m3fn cache against the original: SQNR ") for note in notes)


# Cases --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [*law.CHECKS, *kv_append.CHECKS], ids=lambda check: f"{check.op}-{check.name}")
def test_cases_can_be_named_and_their_recipes_exist(check: Any) -> None:
    ids = [case.id for case in check.cases]
    assert len(ids) == len(set(ids))
    for case in check.cases:
        assert Case.parse(case.id).id == case.id
        if check.op == "paged_attention":
            assert case.recipe in RECIPES
            assert dict(case.options)["pages"] in ARRANGEMENTS


def test_case_of_another_op_is_left_to_it() -> None:
    """ "bound" is a check of gemm's law, too, and "epilogue" of that alone."""
    from lastbit.providers.numpy_paged import kernels

    kernel = replace(kernels()[0], formats=F32)
    for case in ("bound normal/m24-n40-k129", "epilogue normal/m24-n40-k129"):
        assert verify(kernel, case=case).records == ()
    own = next(check for check in law.CHECKS if check.name == "bound").cases[0].id
    assert [record.outcome for record in verify(kernel, case=f"bound {own}").records] == [Outcome.PASS]
    with pytest.raises(UsageError, match="names check 'nine'"):
        verify(kernel, case="nine normal/m24-n40-k129")


def test_kernels_need_not_list_the_formats_of_indices() -> None:
    Kernel("x/y", "paged_attention", print, FP8, CONTRACT, "numpy")
    with pytest.raises(KernelError, match="lack v_cache"):
        Kernel("x/y", "paged_attention", print, {"q": "f32", "k_cache": "f32", "out": "f32"}, CONTRACT, "numpy")


def test_default_accumulator_does_not_depend_on_indices() -> None:
    assert resolved(Contract(), {**FP8, "block_table": "i32"}).accumulator == "f32"


def test_default_accumulator_is_that_of_the_dequantized_cache() -> None:
    """On an H100 the cache's e5m2 codes do not meet the FP8 engine: f16 does."""
    formats = {"q": "f16", "k_cache": "e5m2", "v_cache": "e5m2", "out": "f16"}
    promised = resolved(Contract(), formats, "h100").accumulator
    assert promised == replace(Accumulator.of("h100", "f16"), order="any")


# Providers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["torch", "numpy", "triton"])
def test_providers_read_one_token_and_append_bit_for_bit(provider: str) -> None:
    """One small case of each op, in every format; what each promises names its source."""
    try:
        kernels = import_module(f"lastbit.providers.{provider}_paged").kernels()
    except ImportError as error:
        pytest.skip(str(error))
    cases = {check.op: check for check in (law.CHECKS[0], kv_append.CHECKS[0])}
    for kernel in kernels:
        assert kernel.name.startswith(f"{provider}/")
        assert kernel.contract.source.startswith("plugins/lastbit/providers/")
        if "cpu" not in kernel.devices:
            continue
        check = cases[kernel.op]
        records = [record for case in check.cases[:3] for record in verify(kernel, case=f"exact {case.id}").records]
        assert {record.outcome for record in records} <= {Outcome.PASS, Outcome.NOT_TESTED}
        passed = {record.formats for record in records if record.outcome is Outcome.PASS}
        assert len(passed) == len(kernel.format_sets)


# Harness ------------------------------------------------------------------------------------------------------------

APPEND = {"k": "f32", "v": "f32", "k_cache": "f32", "v_cache": "f32", "out": "f32"}


def append_trial(run: Any, *features: str, **settings: Any) -> tuple[Trial, Any]:
    kernel = Kernel("x/append", "kv_append", run, APPEND, CONTRACT, "numpy", ("cpu",), frozenset(features))
    sizes = {"tokens": 3, "hkv": 1, "d": 4, "dv": 4, "block": 2, "pages": 4}
    return Trial(kernel, APPEND, CONTRACT, "cpu", Case("normal", ()), settings=settings), appends(
        "normal", APPEND, sizes, 0
    )


def write(k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any) -> None:
    for x, cache in ((k, k_cache), (v, v_cache)):
        cache[slots // 2, slots % 2] = x


def write_copies(k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any) -> Any:
    new = k_cache.copy(), v_cache.copy()
    write(k, v, *new, slots)
    return new


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(("run", "features"), [(write, ("inplace",)), (write_copies, ())])
def test_both_caches_come_back(run: Any, features: tuple[str, ...], isolate: bool) -> None:
    trial, given = append_trial(run, *features, isolate=isolate)
    got = call(trial, given)
    assert got.fault is None
    slots = given["slots"].values.astype(int)
    for codes, name in ((got.codes, "k"), (got.second, "v")):
        assert codes is not None
        assert np.array_equal(codes[slots // 2, slots % 2], given[name].codes)


def _wrong_runs() -> Iterator[tuple[Any, tuple[str, ...], str]]:
    def changes_tokens(k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any) -> None:
        k[0] = 0

    def writes_outside(k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any) -> None:
        np.lib.stride_tricks.as_strided(k_cache, (k_cache.size + 1,), (4,))[-1] = 1

    def in_place_of_new(k: Any, v: Any, k_cache: Any, v_cache: Any, slots: Any) -> Any:
        write(k, v, k_cache, v_cache, slots)
        return k_cache.copy(), v_cache.copy()

    yield changes_tokens, ("inplace",), "it changed operand k"
    yield writes_outside, ("inplace",), "it wrote outside result k_cache"
    yield write_copies, ("inplace",), "returned another tensor"
    yield in_place_of_new, (), "it changed operand k_cache"
    yield lambda k, v, k_cache, v_cache, slots: (k_cache, v_cache), (), "shares memory with operand k_cache"
    yield lambda k, v, k_cache, v_cache, slots: k_cache.copy(), (), r"expected \(k_cache, v_cache\)"
    yield lambda k, v, k_cache, v_cache, slots: None, (), r"it returned a NoneType, expected \(k_cache, v_cache\)"


@pytest.mark.parametrize(("run", "features", "reason"), tuple(_wrong_runs()))
def test_harness_sees_what_an_append_must_not_do(run: Any, features: tuple[str, ...], reason: str) -> None:
    got = call(*append_trial(run, *features))
    assert got.fault is not None
    assert got.fault.outcome is Outcome.WRONG_STRUCTURE
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(got.fault.reason)


def _posed(drawn: CacheData) -> list[tuple[Any, Any]]:
    problems = paged.problems(drawn.operands)
    return list(zip(problems, paged.truths(problems), strict=True))
