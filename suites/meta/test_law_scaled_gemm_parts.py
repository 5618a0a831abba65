"""Parts of the scaled GEMM law: case ids, sizes by scaling and multiple, layouts of scales and codes, the search."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.case import Case, Trial
from lastbit.contract import Contract, resolved
from lastbit.errors import KernelError, UsageError
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.packing import unpack, unswizzled
from lastbit.references.scaling import Scaling
from lastbit.suites import scaled_gemm, scaled_gemm_hunt
from lastbit.suites.scaled_gemm_proof import inputs, problem_of, scalings, sizes
from lastbit.suites.scaled_gemm_trial import has_data
from lastbit.suites.zoo import scaled_gemm_parts as right
from lastbit.verdict import Outcome
from lastbit.verify import verify


def trial(scheme: right.Scheme, case: str, contract: Contract = right.PLAIN, **fields: Any) -> Trial:
    kernel = replace(right.kernel("one", right.Sum(scheme), scheme, contract), **fields)
    return Trial(kernel, scheme.formats, resolved(contract, scheme.formats), "cpu", Case.parse(case))


@pytest.mark.parametrize("check", scaled_gemm.CHECKS, ids=lambda check: check.name)
def test_case_ids_are_unique_and_parse_to_the_case_that_they_name(check: Any) -> None:
    ids = [case.id for case in check.cases]
    assert len(set(ids)) == len(ids)
    for case in check.cases:
        again = Case.parse(case.id)
        assert (again.id, again.recipe, again.sizes, again.layout) == (case.id, case.recipe, case.sizes, case.layout)


def test_words_for_sizes_follow_groups_blocks_tiles_and_multiples() -> None:
    words = "scales/movertile-nspanning-kspanning"
    assert sizes(trial(right.FP8_TENSOR, words)) == {"m": 33, "n": 65, "k": 65}
    assert sizes(trial(right.FP8_BLOCK, words)) == {"m": 33, "n": 257, "k": 257}
    assert sizes(trial(right.MXFP8, words, multiple={"k": 32, "n": 8})) == {"m": 33, "n": 72, "k": 96}
    assert sizes(trial(right.MXFP8, words, tile={"k": 64, "m": 16})) == {"m": 17, "n": 65, "k": 129}


def test_elements_are_those_of_the_formats_and_a_plain_operand_has_no_scaling() -> None:
    mixed = replace(right.FP8_TENSOR, b="e5m2")
    assert [one.element for one in scalings(trial(mixed, "scales/m2-n3-k4")) if one] == ["e4m3fn", "e5m2"]
    a, b = scalings(trial(right.WEIGHT_ONLY, "scales/m2-n3-k4"))
    assert a is None
    assert b is not None
    assert b.group == 32


@pytest.mark.parametrize(
    ("scheme", "case", "why"),
    [
        (right.I8_ROW, "truncation/m3-n4-k5", "the formats have no truncation data"),
        (right.FP8_TENSOR, "full_range/m3-n4-k5", "the formats have no full_range data"),
        (right.WEIGHT_ONLY, "scales/m3-n4-k5/scale_a:transposed", "the kernel has no scale_a"),
        (right.MXFP8, "integers/m3-n4-k5/bias=1", "the kernel has no bias"),
        (right.I8_ROW, "full_range/m2-n3-k131072", "the sum may leave i32"),
        (right.I8_ROW, "full_range/m2-n3-k131071", ""),
        (right.AFFINE, "full_range/m2-n3-k33026", "the sum may leave i32"),
        (right.AFFINE, "full_range/m2-n3-k33025", ""),
    ],
)
def test_case_that_is_none_for_a_kernel_says_why(scheme: right.Scheme, case: str, why: str) -> None:
    assert has_data(trial(scheme, case)) == why


def test_recipe_that_is_none_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="recipe is 'norml', expected one of integers, scales"):
        has_data(trial(right.FP8_ROW, "norml/m3-n4-k5"))


def decoded(codes: Any, scaling: Scaling, k: int) -> Any:
    values = Format.of(scaling.element).decode(unpack(np.ascontiguousarray(codes), scaling.packing, k, scaling.group))
    return values.astype(np.float32)


def product(a: Any, b: Any, scaling: Scaling, scale_a: Any, scale_b: Any, k: int) -> Any:
    left, right_ = decoded(a, scaling, k), decoded(b.T, scaling, k)
    left, right_ = left * spread(scale_a, scaling, left.shape), right_ * spread(scale_b, scaling, right_.shape)
    return np.matmul(left, right_.T)


def kernel(scaling: Scaling, run: Any, **fields: Any) -> Kernel:
    formats = {"a": scaling.element, "b": scaling.element, "out": "f32"}
    return Kernel(
        "zoo/laid-out", "scaled_gemm", run, formats, framework="numpy", devices=("cpu",), scaling=scaling, **fields
    )


SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="swizzled", scale_layout="swizzled-128x4")


def of_swizzled(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
    groups = -(-a.shape[1] // 32)
    scales = [
        unswizzled(x.view(np.uint8), rows, groups).view(x.dtype).astype(np.float32)
        for x, rows in ((scale_a, a.shape[0]), (scale_b, b.shape[1]))
    ]
    left, right_ = (
        codes.astype(np.float32) * spread(scale, SWIZZLED, codes.shape)
        for codes, scale in ((a, scales[0]), (b.T, scales[1]))
    )
    return np.matmul(left, right_.T)


def test_swizzled_scales_reach_the_kernel_and_their_order_counts() -> None:
    report = verify(kernel(SWIZZLED, of_swizzled, limit=200_000), tier="smoke")
    assert report.passed, str(report)

    def unaware(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        return of_swizzled(a, b, np.roll(scale_a, 16), scale_b)

    wrong = verify(kernel(SWIZZLED, unaware, limit=200_000), tier="smoke")
    assert "exact" in {finding.check for finding in wrong.findings if finding.outcome.failed}


@pytest.mark.parametrize("name", ["mxfp6_e3m2", "mxfp6_e2m3"])
def test_six_bit_codes_are_packed_along_k(name: str) -> None:
    scaling = Scaling.of(name)

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        k = a.shape[1] // 3 * 4
        return product(a, b, scaling, np.float32(scale_a), np.float32(scale_b).T, k)

    report = verify(kernel(scaling, run, multiple={"k": 4}, limit=200_000), tier="smoke")
    assert report.passed, str(report)


def test_unpacked_i4_travels_as_numbers_in_i8() -> None:
    scaling = replace(Scaling.of("i4_group32"), packing="none")
    given = inputs(trial(replace(right.WEIGHT_ONLY, b="i4", scaling_b=scaling), "normal/m3-n4-k40"))
    assert given.operands["b"].format == "i8"
    assert given.operands["b"].values.min() < 0
    one = trial(replace(right.WEIGHT_ONLY, b="i4", scaling_b=scaling), "normal/m3-n4-k40")
    assert (problem_of(one, given).b.steps == given.operands["b"].values.T).all()


def test_hunt_shrinks_a_fault_to_its_smallest_case() -> None:
    """The scale of a second group is not used: nothing smaller than k = 33 shows it."""

    class FirstGroup(right.Sum):
        def product(self, sides: Any, k: int) -> Any:
            for side in sides:
                side.scale = np.broadcast_to(side.scale[:, :1], side.scale.shape)
            return super().product(sides, k)

    one = trial(right.MXFP8, "normal/m1-n1-k1")
    verdict = scaled_gemm_hunt.hunt(
        replace(one, tier="standard", kernel=replace(one.kernel, run=FirstGroup(right.MXFP8)))
    )
    assert verdict.outcome is Outcome.OVER_BUDGET
    shrunk = dict(Case.parse(verdict.notes["shrunk case"]).sizes)
    assert shrunk == {"m": 1, "n": 1, "k": 33}


def test_kernel_without_a_scaling_or_with_an_unknown_one_is_refused() -> None:
    formats = {"a": "i8", "b": "i8", "out": "f32"}
    with pytest.raises(KernelError, match="scaled_gemm needs a scaling"):
        Kernel("zoo/one", "scaled_gemm", lambda: None, formats)
    unknown = Kernel("zoo/one", "scaled_gemm", lambda: None, formats, scaling={"a": "i8_row", "b": "i9_row"})
    with pytest.raises(KernelError, match="there is no scaling 'i9_row'"):
        _ = unknown.format_sets
    for name in ("i8_row_bitsandbytes", "nf4"):
        with pytest.raises(KernelError, match="is judged for powers of two, and no table"):
            _ = replace(unknown, scaling=name).format_sets
    plain = Kernel("zoo/one", "scaled_gemm", lambda: None, formats, scaling={"a": None})
    with pytest.raises(KernelError, match="neither a nor b has a scaling"):
        _ = plain.format_sets


def test_kernel_without_formats_of_its_operands_is_refused() -> None:
    with pytest.raises(KernelError, match="lack b; scaled_gemm has a, b, scale_a, scale_b, out"):
        Kernel("zoo/one", "scaled_gemm", lambda: None, {"a": "i8", "out": "f32"}, scaling="i8_row")
