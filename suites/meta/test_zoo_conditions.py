"""The conditions under which faults of the field show are in the zoo, for several ops each, and the law meets them."""

import numpy as np
import pytest

from lastbit.suites.zoo import attention_condition_faults, condition_faults
from lastbit.suites.zoo.collection import specimen
from lastbit.suites.zoo.conditions import OneCallIn, where
from lastbit.suites.zoo.score import score

#: Names of faulty kernels by the condition that each of them needs.
CONDITIONS = {
    "k mod 32 = 16": (
        "gemm-drops_half_tile-bf16",
        "attention-blind_if_half_tile-bf16",
        "attention-gradients_short_if_half_tile-bf16",
        "softmax-drops_last_if_half_tile-f32",
        "scaled_gemm-last_missing_if_half_tile-fp8_row",
        "dequantize-last_lost_if_half_tile-mxfp8_e4m3-f32",
        "paged_attention-blind_if_half_tile-bf16",
        "kv_append-drops_last_if_half_tile-bf16",
    ),
    "one more than a tile": (
        "gemm-drops_one_over-f32",
        "gemm-stale_last_row-f32",
        "attention-blind_if_one_over-f32",
        "attention-gradients_short_if_one_over-f32",
        "logsumexp-drops_last_if_one_over-bf16",
        "scaled_gemm-last_missing_if_one_over-mxfp8",
        "dequantize-last_lost_if_one_over-mxfp8_e4m3-f32",
        "paged_attention-blind_if_one_over-bf16",
        "kv_append-drops_last_if_one_over-bf16",
    ),
    "few rows": (
        "gemm-wrong_single_row-f32",
        "gemm-wrong_few_rows-bf16",
        "attention-blind_if_few_queries-f16",
        "attention-decode_drops_newest-f32",
        "attention-gradients_short_if_few_queries-f16",
        "log_softmax-drops_last_if_few_rows-f16",
        "scaled_gemm-last_missing_if_few_rows-fp8_row",
        "dequantize-last_lost_if_few_rows-mxfp8_e4m3-f32",
        "paged_attention-blind_if_few-bf16",
        "kv_append-drops_last_if_few-bf16",
    ),
    "groups of seven": (
        "attention-heads_modulo_if_seven-bf16",
        "attention-gradients_last_head_if_seven-f32",
        "paged_attention-interleaved_if_seven-bf16",
    ),
    "the second call": (
        "gemm-remembersshape-bf16",
        "softmax-remembers-f32",
        "attention-keeps_scale-f32",
        "attention-gradients_remembers-f32",
        "quantize-stale_scale-i8_row-f32",
        "dequantize-stale_scale-i8_row-bf16",
        "scaled_gemm-stalescales-fp8_row",
        "paged_attention-remembers_table-bf16",
        "kv_append-remembers_slots-bf16",
    ),
    "one configuration": (
        "gemm-wrong_wide_tile-f32",
        "attention-long_drops-f32",
        "softmax-drops_last_if_wide-f32",
        "quantize-rows_beyond_capacity-mxfp8_e4m3-f32",
        "paged_attention-blind_if_pages_of_16-bf16",
        "kv_append-drops_last_if_pages_of_16-bf16",
    ),
    "one call of several": (
        "gemm-loses_slice_in_2-f32",
        "gemm-loses_slice_in_5-f32",
        "gemm-loses_slice_in_13-f32",
        "softmax-drops_last_in_one_of_3-f32",
        "attention-blind_in_one_of_3-f32",
        "attention-gradients_short_in_one_of_3-bf16",
        "quantize-race-i8_row-f32",
        "dequantize-race-i8_row-f32",
        "scaled_gemm-last_missing_in_one_of_3-fp8_row",
        "paged_attention-blind_in_one_of_3-f32",
        "kv_append-drops_last_in_one_of_3-bf16",
    ),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_fault_is_caught_under_its_condition(condition: str) -> None:
    chosen = [specimen(name) for name in CONDITIONS[condition]]
    assert [one.specimen for one in score(chosen, "smoke", (3,), workers=1) if not one.caught] == []


def test_every_conditional_fault_is_listed() -> None:
    """Of a softmax, a log_softmax and a logsumexp with the same fault one is enough."""
    named = {name.partition("-")[2] for names in CONDITIONS.values() for name in names}
    assert {
        one.name.partition("-")[2] for one in (*attention_condition_faults.FAULTY, *condition_faults.FAULTY)
    } <= named


def test_faulty_kernel_is_the_right_one_elsewhere() -> None:
    run = where(lambda x: len(x) > 2, lambda x: x + 1, lambda x: x)
    assert run(np.zeros(2)).tolist() == [0, 0]
    assert run(np.zeros(3)).tolist() == [1, 1, 1]


def test_one_call_of_three_is_the_third() -> None:
    run = OneCallIn(3, lambda: "wrong", lambda: "right")
    assert [run() for _ in range(7)] == ["right", "right", "wrong"] * 2 + ["right"]
