"""Parts of the quantizer law: sizes in groups, refusals, what is vacuous, statistics of stochastic rounding."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.errors import UsageError
from lastbit.kernel import Kernel
from lastbit.quantize_judge import judge_quantized
from lastbit.references import quantize as quantize_references
from lastbit.references.scaling import Scaling
from lastbit.suites import dequantize, dequantize_trial, quantize, quantize_checks, quantize_trial
from lastbit.suites.quantize_stochastic import frequencies
from lastbit.suites.zoo import quantize_parts as parts
from lastbit.suites.zoo.quantize_kernels import kernel
from lastbit.suites.zoo.quantize_random_faults import STOCHASTIC, fair, stochastic
from lastbit.verdict import Outcome
from lastbit.verify import verify


def trial(
    scaling: Any,
    sizes: tuple[tuple[str, int | str], ...],
    *,
    recipe: str = "normal",
    run: parts.Step = print,
    features: frozenset[str] = frozenset({"batch", "tails"}),
    tile: dict[str, int] | None = None,
    contract: Contract | None = None,
    op: str = "quantize",
) -> Trial:
    one = replace(kernel("one", run, scaling, "f32", contract, op, features), tile=tile or {})
    formats = one.format_sets[0]
    return Trial(one, formats, resolved(one.contract, formats), "cpu", Case(recipe, sizes))


WHOLE = frozenset({"batch"})


@pytest.mark.parametrize(
    ("scaling", "sizes", "features", "tile", "found"),
    [
        ("mxfp4", (("m", 17), ("n", "tile")), WHOLE, None, (17, 96)),
        ("mxfp4", (("m", 17), ("n", "overtile")), WHOLE, None, (17, 97)),
        ("mxfp4", (("m", 17), ("n", "undertile")), WHOLE, {"n": 64}, (17, 191)),
        ("mxfp4", (("m", 5), ("n", 33)), WHOLE, None, (5, 64)),
        ("mxfp4", (("m", 5), ("n", 33)), frozenset({"tails"}), None, (5, 33)),
        ("i8_row", (("m", 17), ("n", "tile")), WHOLE, None, (17, 96)),
        ("i8_row", (("m", 17), ("n", "long")), WHOLE, {"n": 48}, (17, 432)),
        ("fp8_block128", (("m", 17), ("n", "tile")), WHOLE, None, (128, 384)),
        ("fp8_block128", (("m", "overtile"), ("n", "fair")), WHOLE, None, (385, 128)),
        ("fp8_row", (("m", "all"), ("n", "tile")), WHOLE, None, (683, 96)),
    ],
)
def test_sizes_are_groups_of_the_scaling(
    scaling: str,
    sizes: tuple[tuple[str, int | str], ...],
    features: frozenset[str],
    tile: dict[str, int] | None,
    found: tuple[int, int],
) -> None:
    assert tuple(quantize_trial.sizes(trial(scaling, sizes, features=features, tile=tile)).values()) == found


def test_groups_along_rows_are_counted_in_rows() -> None:
    down = replace(Scaling.of("mxfp8_e4m3"), name="down", axis=-2)
    assert quantize_trial.sizes(trial(down, (("m", 17), ("n", "tile")), features=WHOLE)) == {"m": 32, "n": 96}


@pytest.mark.parametrize(("word", "n"), [("overtile", 98), ("undertile", 94), ("tile", 96)])
def test_dequantizers_are_given_whole_bytes(word: str, n: int) -> None:
    sizes = (("m", 3), ("n", word))
    assert dequantize_trial.sizes(trial("mxfp4", sizes, op="dequantize"))["n"] == n


def refuses(x: parts.Array) -> parts.Array:
    if x.shape[-1] % 32:
        raise ValueError("n is no multiple of 32")
    if np.isnan(x).any():
        raise ValueError("x has NaN")
    return parts.MXFP4(x)


def garbage(x: parts.Array) -> parts.Array:
    codes, scale = parts.MXFP4(x)
    return (codes, scale) if x.shape[-1] % 32 == 0 else (codes * 0, scale)


def test_short_groups_may_be_refused_and_not_mistaken() -> None:
    sizes = (("m", 3), ("n", "overtile"))
    refused = quantize_checks.tails(trial("mxfp4", sizes, run=refuses, features=WHOLE))
    assert refused.outcome is Outcome.PASS
    assert refused.notes["short groups"].startswith("refused: raised ValueError: n is no multiple of 32")
    # Who claims to take them has to.
    assert quantize_checks.tails(trial("mxfp4", sizes, run=refuses)).outcome is Outcome.CRASHED
    wrong = quantize_checks.tails(trial("mxfp4", sizes, run=garbage, features=WHOLE))
    assert wrong.outcome is Outcome.OVER_BUDGET
    assert wrong.reason.startswith("neither refused nor right")


def test_nan_may_be_refused_only_where_it_has_no_code() -> None:
    sizes = (("m", 17), ("n", "tile"))
    open_nan = trial("mxfp4", sizes, recipe="special", run=refuses)
    assert quantize_checks.special(open_nan).outcome is Outcome.PASS
    promised = trial("mxfp4", sizes, recipe="special", run=refuses, contract=Contract(nan="zero"))
    assert quantize_checks.special(promised).outcome is Outcome.CRASHED


def test_nothing_is_shown_where_everything_is_open() -> None:
    """A tensor of which an infinity is part, in a scaling that says nothing of infinities."""
    whole = replace(Scaling.of("mxfp8_e4m3"), name="whole", granularity="tensor")
    run = replace(parts.MXFP8, cut=parts.by_tensor, store=lambda scale: scale.reshape(()))
    found = quantize_checks.special(trial(whole, (("m", 5), ("n", 32)), recipe="special", run=run))
    assert found.outcome in (Outcome.PASS, Outcome.VACUOUS)
    values = np.full((5, 32), np.inf)
    one = trial(whole, (("m", 5), ("n", 32)), run=run)
    given = quantize_trial.of_values(one, values)
    from lastbit.suites.trials import obtain

    verdict = quantize_trial.judge(one, given, obtain(one, given))
    assert verdict.outcome is Outcome.VACUOUS
    assert "leaves open" in verdict.reason


def test_scale_is_named_before_the_codes_that_it_spoils() -> None:
    report = verify(kernel("shifted", parts.but(parts.MXFP8, rule=parts.power(7)), "mxfp8_e4m3"), tier="smoke")
    first = next(finding for finding in report.findings if finding.check == "exact")
    assert first.reason.startswith("wrong scale at (0, 0): got 0x")
    assert "51 of 51 elements wrong, none may be: mxfp8_e4m3, floor, exact, nearest-even" in first.reason
    assert "have this scale" in first.reason


def test_size_word_of_another_op_is_refused() -> None:
    with pytest.raises(UsageError, match="n is 'spanning', expected a number or one of fair, tile"):
        verify(kernel("one", parts.MXFP4, "mxfp4"), case="exact normal/m17-nspanning")


def judged(x: Any, scaling: Any, fmt: str, spoil: int) -> str:
    """The reason why a right quantized tensor with one code changed is wrong."""
    right = quantize_references.quantize(np.array(x), scaling, fmt)
    codes = right.codes.copy()
    codes[0, 1] ^= spoil
    return judge_quantized(np.array(x), fmt, Scaling.of(scaling), replace(right, codes=codes))[0].reason


def test_divisor_that_is_not_the_scale_is_told() -> None:
    reason = judged([[2.0**-130, 2.0**-131]], "mxfp4_ceil", "f32", 2)
    assert "its scale 5.87747175e-39, divided by 1.17549435e-38, the quotient 0.03125" in reason
    assert "divided by" not in judged([[3.0, 1.0]], "mxfp4_ceil", "f32", 2)


def test_formats_of_the_arithmetic_are_told() -> None:
    assert "i8_row_affine, affine_min_max, reciprocal, nearest-even, in f16\n" in judged(
        [[3.0, 1.0]], "i8_row_affine", "f16", 2
    )
    mixed = replace(Scaling.of("i8_row_affine"), name="mixed", scale_compute="f32")
    assert "nearest-even, scales in f32, quotients in f16\n" in judged([[3.0, 1.0]], mixed, "f16", 2)
    assert "mxfp4, floor, exact, nearest-even\n" in judged([[3.0, 1.0]], "mxfp4", "f16", 2)


def test_share_of_ambiguous_codes_is_noted() -> None:
    anyhow = replace(Scaling.of("i8_row"), name="i8_row_any", arithmetic=None)
    verdict = quantize_checks.exact(trial(anyhow, (("m", 67), ("n", "long")), run=parts.I8_ROW))
    assert verdict.outcome is Outcome.PASS
    assert "ambiguous" in verdict.notes
    assert verdict.notes["format error"].endswith(" dB")
    disputed = quantize_checks.result(trial(anyhow, (("m", 17), ("n", "tile")), recipe="disputed", run=parts.I8_ROW))
    assert float(disputed.notes["ambiguous"].rpartition("codes ")[2]) > 0.3


@pytest.mark.parametrize(
    ("share", "outcome"),
    [(fair, Outcome.PASS), (lambda lost, rng: rng.random(lost.shape) < lost**1.4, Outcome.LAW_BROKEN)],
    ids=["fair", "biased"],
)
def test_stochastic_shares_are_counted(share: Any, outcome: Outcome) -> None:
    sizes = (("m", 150), ("n", "long"))
    run = parts.but(parts.MXFP4, code=stochastic(share))
    verdict = frequencies(trial("mxfp4", sizes, recipe="shares", run=run, contract=STOCHASTIC))
    assert verdict.outcome is outcome
    if outcome is Outcome.PASS:
        assert "false alarm 1e-09" in verdict.notes["stochastic"]
    else:
        assert "Chernoff" in verdict.reason


def test_every_check_has_a_smoke_case_or_says_why_not() -> None:
    for law in (quantize.CHECKS, dequantize.CHECKS):
        assert len({check.name for check in law}) == len(law)
        for check in law:
            assert check.why.endswith(".")
            later = {"patterns", "hunt"}
            assert any(case.tier == "smoke" for case in check.cases) or check.name in later
            assert all(Case.parse(case.id).id == case.id for case in check.cases)


def test_given_scales_reach_the_kernel_in_order() -> None:
    seen: list[tuple[Any, ...]] = []

    def run(x: parts.Array, scale: parts.Array, zero: parts.Array) -> parts.Array:
        seen.append((x.shape, scale.dtype.name, zero.dtype.name))
        return np.zeros(x.shape, np.int8)

    one = trial("i8_affine_torch", (("m", 3), ("n", 8)), run=run)
    assert quantize_checks.result(one).outcome is Outcome.OVER_BUDGET
    assert seen == [((3, 8), "float32", "int8")]
    assert isinstance(one.kernel, Kernel)


def test_functions_are_verified_with_a_scaling() -> None:
    report = verify(
        parts.I8_ROW,
        op="quantize",
        formats={"x": "f32"},
        scaling="i8_row",
        framework="numpy",
        name="mine/q",
        tier="smoke",
    )
    assert report.passed
    assert {record.formats for record in report.records} == {"x:f32 out:i8"}


def flushed(x: parts.Array) -> parts.Array:
    """Subnormal f32 numbers taken for zeros, as GPU code often does."""
    return np.where(np.abs(x) < 2.0**-126, 0, x).astype(x.dtype)


@pytest.mark.parametrize(("subnormals", "passes"), [("flush", True), ("keep", False)])
def test_subnormal_numbers_may_be_flushed_where_that_is_declared(subnormals: str, passes: bool) -> None:
    def quantizes(x: parts.Array) -> parts.Array:
        codes, scale = parts.but(parts.I8_ROW, amax=lambda groups: flushed(parts.largest(flushed(groups))))(flushed(x))
        return codes, np.where(scale < 2.0**-126, 1, scale).astype(np.float32)

    def worth(codes: parts.Array, scale: parts.Array) -> parts.Array:
        return flushed(parts.f32(codes) * flushed(scale))

    for op, run, name in (("quantize", quantizes, "f32"), ("dequantize", worth, "f32")):
        one = kernel("flushes", run, "i8_row", name, Contract(subnormals=subnormals), op)
        report = verify(one, tier="smoke")
        assert report.passed is passes, [finding.reason for finding in report.findings if finding.outcome.failed][:2]
    if passes:
        wrong = kernel(
            "wrong", parts.but(parts.I8_ROW, rule=parts.over(126)), "i8_row", "f32", Contract(subnormals="flush")
        )
        assert not verify(wrong, tier="smoke").passed
