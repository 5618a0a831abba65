"""The zoo holds what it says: every class has a kernel, names are unique, builds are fresh, and a sample is caught."""

import re

import pytest

from lastbit.errors import UsageError
from lastbit.suites.law import checks
from lastbit.suites.zoo.collection import classes, core, fault_class, faulty, specimen, variants
from lastbit.suites.zoo.score import jobs, score, sightings
from lastbit.suites.zoo.specimen import Faulty

IDS = tuple(f"F{number:03}" for number in range(1, 101))


def test_classes_are_those_of_the_reference_in_order() -> None:
    assert tuple(one.id for one in classes()) == IDS
    for one in classes():
        assert all((one.where, one.mechanism, one.trigger)), one.id
        assert re.fullmatch(r"[^.]*", one.left_out) or one.left_out.endswith("."), "a reason is a clause or a sentence"


def test_every_class_has_a_kernel_or_a_reason() -> None:
    held = {one.fault for one in faulty()} | {one.id for one in classes() if one.left_out}
    assert held == set(IDS)


def test_classes_that_are_left_out_have_no_kernel() -> None:
    left_out = {one.id for one in classes() if one.left_out}
    assert [one.name for one in faulty() if one.fault in left_out] == []


def test_names_are_unique_and_lead_to_their_kernel() -> None:
    everything = (*faulty(), *variants())
    assert len({one.name for one in everything}) == len(everything)
    for one in everything:
        assert specimen(one.name) is one
        assert one.build().name == one.kernel_name


def test_faults_name_their_class_tell_a_story_and_checks_of_their_law() -> None:
    for one in faulty():
        assert one.fault in IDS
        assert one.story.endswith("."), one.name
        known = {check.name for check in checks(one.build().op)}
        assert one.checks, one.name
        assert one.checks <= known, one.name


def test_there_are_sixty_correct_variants_each_with_a_story() -> None:
    assert len(variants()) >= 60
    assert [one.name for one in variants() if not one.story.endswith((".", ":"))] == []


#: Ways to be right that a suite must not flag, each with variants that go them.
WAYS = {
    "from the end": (
        "gemm-backward-f32",
        "softmax-backward-f32",
        "attention-backward-f32",
        "scaled_gemm-backward-nvfp4",
    ),
    "in pairs": ("gemm-pairwise-f32",),
    "in blocks": ("gemm-blocks_of_16-f16",),
    "in strided lanes": ("gemm-lanes_of_8-bf16", "softmax-lanes-f32"),
    "compensated or in f64": ("gemm-compensated-f32", "gemm-in_f64-f32", "logsumexp-in_f64-f64"),
    "another order in each call": ("gemm-wavers-f32-declared", "attention-nondeterministic_declared-f32"),
    "split k in f32": ("gemm-split_k_2-bf16", "gemm-split_k_7-f32", "scaled_gemm-split_k-fp8_block"),
    "split keys": ("attention-split-bf16", "paged_attention-splits_right-f32"),
    "fused multiply-add or not": ("gemm-fused-f32", "gemm-honest-f32"),
    "the bias first or last": ("gemm-bias_first-f32", "gemm-epilogue-f32"),
    "online in several tiles": (
        "softmax-online_2-bf16",
        "softmax-online_7-f16",
        "softmax-online_64-f32",
        "attention-online-bf16",
        "attention-online_narrow-f32",
        "attention-online_lazy-f32",
    ),
    "exp2": ("softmax-with_exp2-f32", "attention-exp2-f32", "attention-gradients_exp2-f32"),
    "TF32": ("gemm-tf32_rounded-f32-declared", "gemm-tf32_cut-f32-declared"),
    "13 bits of FP8 sums": ("gemm-engine-h100-fp8", "gemm-engine-ada-fp8"),
    "bf16x3": ("gemm-bf16x3-f32-declared", "gemm-bf16x6-f32-declared"),
    "narrow sums, declared": ("gemm-f16_accumulator-f16-declared", "gemm-bf16_accumulator-bf16-declared"),
    "overflow to infinity, to NaN or saturated": (
        "gemm-honest-f16",
        "gemm-saturates-f16-declared",
        "cast-saturated_by_clip-f32-e5m2-declared",
        "kv_append-overflows_by_contract_right-e4m3fn",
    ),
    "masked rows zero or NaN": (
        "attention-one_pass-f32",
        "attention-masked_row_declared-bf16",
        "softmax-honest-f32",
        "softmax-zeros_masked_rows-f32-declared",
    ),
    "causal from either corner": (
        "attention-one_pass-f32",
        "attention-top_left_declared-f32",
        "attention-packed_top_left_declared-f32",
    ),
    "another layout of the result": (
        "gemm-column_major-f32",
        "gemm-inside_larger-f16",
        "gemm-of_tiles-bf16",
        "attention-heads_inside-bf16",
    ),
    "subnormal numbers flushed, declared": ("gemm-flushes-f16-declared", "softmax-flushes_tails-f32-declared"),
    "rows that depend on the batch, undeclared": ("gemm-batch_variant-f32", "attention-batch_variant_undeclared-bf16"),
    "scales of a cache folded": ("paged_attention-scales_folded_right-e4m3fn",),
    "integers by offset": ("gemm-integers_by_offset-u8",),
    "codes by table, search, comparison or magic number": (
        "quantize-nf4_search-nf4-bf16",
        "quantize-mxfp4_thresholds-mxfp4-bf16",
        "quantize-i8_magic_number-i8_row-f32",
    ),
    "random rounding, declared": ("quantize-mxfp4_stochastic-mxfp4-f32", "cast-by_coin-f32-i8-declared"),
    "scales swizzled": ("quantize-mxfp8_swizzled-mxfp8_swizzled-bf16", "dequantize-mxfp8_swizzled-mxfp8_swizzled-f32"),
}


@pytest.mark.parametrize("way", WAYS)
def test_way_to_be_right_is_among_the_variants(way: str) -> None:
    assert set(WAYS[way]) <= {one.name for one in variants()}


def test_engines_of_every_generation_are_among_the_variants() -> None:
    generations = {one.name.split("-")[2] for one in variants() if one.name.startswith("gemm-engine-")}
    assert generations == {"v100", "a100", "ada", "h100", "b200", "cdna2", "cdna3"}


def test_build_of_a_kernel_with_a_memory_is_fresh() -> None:
    one = specimen("gemm-tires_after_3-f32")
    assert one.build().run is not one.build().run


def test_unknown_name_and_class_are_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="no kernel 'nobody'"):
        specimen("nobody")
    with pytest.raises(UsageError, match="expected F001 to F100"):
        fault_class("F999")
    assert fault_class("f042").id == "F042"


SAMPLE = ("gemm-drops_half_tile-bf16", "gemm-wavers-bf16", "gemm-lazy-f32", "softmax-swallows_nan-f32")


def test_sample_of_faults_is_caught_and_of_variants_is_not() -> None:
    chosen = [specimen(name) for name in (*SAMPLE, "gemm-in_f64-f32", "softmax-lanes-f32")]
    found = score(chosen, "smoke", (3,), workers=1)
    assert [one.specimen for one in found] == [one.name for one in chosen], "in the order of the specimens"
    assert [one.caught for one in found] == [True] * len(SAMPLE) + [False] * 2
    for one in found[: len(SAMPLE)]:
        fault = specimen(one.specimen)
        assert isinstance(fault, Faulty)
        assert one.check in fault.checks
        assert one.case
        assert one.reason
        assert one.judged >= 1
    assert found[-1].judged > found[0].judged, "a right kernel is judged to the end of the law"


def test_jobs_hold_every_specimen_once_for_each_seed_with_one_op_and_formats() -> None:
    chosen = (*faulty(), *variants())
    todo = jobs(chosen, "smoke", (0, 7))
    for seed in (0, 7):
        assert sorted(name for job in todo if job.seed == seed for name in job.names) == sorted(o.name for o in chosen)
    for job in todo:
        built = [specimen(name).build() for name in job.names]
        assert len({(kernel.op, str(kernel.format_sets)) for kernel in built}) == 1


def test_a_kernel_that_fails_is_not_called_again() -> None:
    job = jobs([specimen("gemm-zeros-f32")], "smoke", (0,))[0]
    (found,) = sightings(job, [specimen("gemm-zeros-f32")])
    assert (found.check, found.judged) == ("exact", 1)


def test_core_of_the_right_kernels_is_sixty_and_more_of_every_op() -> None:
    """Those that are judged under twenty seeds, where the others are under ten."""
    chosen = core(variants())
    assert len(chosen) >= 60
    assert set(chosen) < set(variants())
    assert {one.build().op for one in chosen} == {one.build().op for one in variants()}
