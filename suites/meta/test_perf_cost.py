"""Costs against counts by hand, against enumeration, and against the arrays that real calls hand a kernel."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lastbit.discovery import find
from lastbit.kernel import OPS, Kernel
from lastbit.perf.compare import Terms, choices, usual_cases
from lastbit.perf.cost import COSTS, Cost, Given, Stored, cost, given, stored_bytes
from lastbit.perf.cost_attention import spans
from lastbit.perf.evidence import evidence
from lastbit.references.attention_mask import Problem, kept


def _kernel(op: str, formats: Mapping[str, str], **fields: Any) -> Kernel:
    return Kernel("test/kernel", op, lambda *_: None, dict(formats), framework="numpy", **fields)


def _call(shapes: Mapping[str, tuple[int, ...]], formats: Mapping[str, str], **integers: tuple[int, ...]) -> Given:
    return Given({name: Stored(shape, formats[name]) for name, shape in shapes.items()}, integers)


def _counted(op: str, shapes: Mapping[str, tuple[int, ...]], formats: Mapping[str, str], **fields: Any) -> Cost:
    options, integers = fields.pop("options", {}), fields.pop("integers", {})
    call = Given({name: Stored(shape, formats[name]) for name, shape in shapes.items()}, integers, options)
    named = {name: fmt for name, fmt in formats.items() if not name.startswith(("scale", "block_", "seq_", "slots"))}
    return cost(_kernel(op, named, **fields), named, call)


def test_every_op_has_a_count() -> None:
    assert set(COSTS) == set(OPS)


@pytest.mark.parametrize(
    ("fmt", "expected"), [("f64", 8), ("f32", 4), ("tf32", 4), ("bf16", 2), ("e4m3fn", 1), ("e2m1fn", 1), ("bool", 1)]
)
def test_bytes_of_an_element(fmt: str, expected: int) -> None:
    assert stored_bytes(fmt) == expected


def test_gemm_by_hand() -> None:
    """3 x 5 by 5 x 7, twice: 2 * 2 * 3 * 7 * 5 operations, bf16 in, f32 out."""
    formats = {"a": "bf16", "b": "bf16", "out": "f32"}
    found = _counted("gemm", {"a": (2, 3, 5), "b": (2, 5, 7)}, formats, features=frozenset({"batch"}))
    assert found == Cost(420, 2 * 2 * (15 + 35), 4 * 42, 420)
    assert found.intensity == 420 / (200 + 168)


def test_gemm_options_are_an_operation_an_element_each() -> None:
    formats = {"a": "f32", "b": "f32", "out": "f32", "c": "f32", "bias": "f32"}
    features = frozenset({"c", "alpha", "beta", "bias"})
    shapes = {"a": (3, 5), "b": (5, 7), "c": (3, 7), "bias": (7,)}
    found = _counted("gemm", shapes, formats, features=features, options={"alpha": 2.0, "beta": 0.5})
    assert (found.matrix, found.operations) == (210, 210 + 4 * 21)
    assert found.bytes_read == 4 * (15 + 35 + 21 + 7)


@pytest.mark.parametrize(
    ("op", "operations", "out"), [("softmax", 35, 7), ("log_softmax", 36, 7), ("logsumexp", 30, 1)]
)
def test_rows_by_hand(op: str, operations: int, out: int) -> None:
    """Three rows of seven: 5, 5 and 4 an element; a logarithm, and the maximum added, a row."""
    found = _counted(op, {"x": (3, 7)}, {"x": "f16", "out": "f32"})
    assert found == Cost(3 * operations, 2 * 21, 4 * 3 * out)


def test_cast_rounds_each_number_once() -> None:
    assert _counted("cast", {"x": (4, 6)}, {"x": "f32", "out": "e4m3fn"}) == Cost(24, 96, 24)


@settings(max_examples=150, deadline=None)
@drawn(
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
    st.none() | st.tuples(st.integers(-1, 4), st.integers(-1, 4)),
    st.sampled_from(["top-left", "bottom-right"]),
)
def test_pairs_are_those_that_the_reference_keeps(
    lq: int, lk: int, causal: bool, window: tuple[int, int] | None, alignment: str
) -> None:
    """Enumerated: each query and each key, as the truth has them."""
    zeros = np.zeros((1, 1, lq, 2)), np.zeros((1, 1, lk, 2)), np.zeros((1, 1, lk, 2))
    problem = Problem(*zeros, causal=causal, window=window, causal_alignment=alignment)
    keep = kept(problem, 0, 0, slice(None))
    found = spans(lq, lk, causal=causal, window=window, shift=lk - lq if alignment == "bottom-right" else 0)
    used = np.flatnonzero(keep.any(axis=0)) if keep.size else np.array([], int)
    assert found.pairs == np.count_nonzero(keep)
    assert found.keys == used.size
    if used.size:
        assert (found.first, found.end) == (used[0], used[-1] + 1)
        for block in (1, 2, 3, 5):
            assert found.pages(block) == len(set(used // block))
    else:
        assert found.pages(4) == 0


ATTENTION = {"q": "bf16", "k": "bf16", "v": "bf16", "out": "bf16"}


def test_attention_by_hand() -> None:
    """Two query heads on one key head, 3 queries, 4 keys, d 8, dv 2: 24 pairs."""
    shapes = {"q": (1, 2, 3, 8), "k": (1, 1, 4, 8), "v": (1, 1, 4, 2)}
    found = _counted("attention", shapes, ATTENTION, features=frozenset({"gqa", "dv"}))
    assert found == Cost(24 * (16 + 4) + 24 * 6, 2 * (48 + 32 + 8), 2 * 12, 24 * 20)


def test_causal_attention_has_half_of_the_pairs_and_reads_what_they_need() -> None:
    """Top-left, 3 queries of 5 keys: 1 + 2 + 3 pairs a head, and the last two keys are not read."""
    shapes = {"q": (2, 2, 3, 4), "k": (2, 2, 5, 4), "v": (2, 2, 5, 4)}
    options = {"causal": True, "causal_alignment": "top-left"}
    found = _counted("attention", shapes, ATTENTION, features=frozenset({"causal"}), options=options)
    assert found.matrix == 4 * 6 * 16
    assert found.bytes_read == 2 * (48 + 2 * 2 * 3 * 8)


def test_attention_options_are_counted() -> None:
    """A softcap is 3 a pair, a bias 1, a sink 4 a row, a log-sum-exp 2; the gradients are twice the products again."""
    shapes = {"q": (1, 1, 3, 4), "k": (1, 1, 5, 4), "v": (1, 1, 5, 4)}
    plain = _counted("attention", shapes, ATTENTION)
    more = {**ATTENTION, "bias": "f32", "sinks": "f32", "lse": "f32"}
    features = frozenset({"bias", "sinks", "softcap", "lse"})
    shapes |= {"bias": (1, 1, 3, 5), "sinks": (1,)}
    found = _counted("attention", shapes, more, features=features, options={"softcap": 3.0})
    assert found.operations - plain.operations == 15 * 4 + 3 * 6
    assert found.bytes_read - plain.bytes_read == 4 * 16
    assert found.bytes_written - plain.bytes_written == 4 * 3
    learned = {**ATTENTION, "grad_out": "bf16"}
    shapes = {"q": (1, 1, 3, 4), "k": (1, 1, 5, 4), "v": (1, 1, 5, 4), "grad_out": (1, 1, 3, 4)}
    assert _counted("attention", shapes, learned, features=frozenset({"gradients"})).matrix == 3 * plain.matrix


def test_packed_attention_is_the_sum_of_its_sequences() -> None:
    shapes = {"q": (1, 2, 7, 4), "k": (1, 2, 9, 4), "v": (1, 2, 9, 4), "cu_seqlens_q": (4,), "cu_seqlens_k": (4,)}
    formats = {**ATTENTION, "cu_seqlens_q": "i32", "cu_seqlens_k": "i32"}
    integers = {"cu_seqlens_q": (0, 3, 3, 7), "cu_seqlens_k": (0, 5, 6, 9)}
    options = {"causal": True}
    features = frozenset({"causal", "packed"})
    found = _counted("attention", shapes, formats, features=features, integers=integers, options=options)
    pairs = (3 + 4 + 5) + (0 + 1 + 2 + 3)  # bottom-right: the first of four queries of three keys sees none
    assert found.matrix == 2 * pairs * 16
    assert found.bytes_read == 2 * (56 + 2 * (5 + 3) * 8) + 2 * 4 * 4  # the sequence without queries is not read


def test_paged_attention_reads_the_tokens_it_attends_to() -> None:
    """Lengths 5 and 2, pages of 4, a window of 3: three and two tokens, from two and one page; e4m3 with scales."""
    formats = {"q": "bf16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "bf16"}
    shapes = {"q": (2, 2, 1, 8), "k_cache": (9, 4, 1, 8), "v_cache": (9, 4, 1, 8)}
    operands = {name: Stored(shape, formats[name]) for name, shape in shapes.items()}
    operands |= {"block_table": Stored((2, 3), "i32"), "seq_lens": Stored((2,), "i32")}
    operands |= {"k_scale": Stored((), "f32"), "v_scale": Stored((), "f32")}
    call = Given(operands, {"seq_lens": (5, 2)}, {"window": (2, 0)})
    found = cost(_kernel("paged_attention", formats, features=frozenset({"window", "gqa", "scales"})), formats, call)
    assert found.matrix == 2 * 5 * 32
    assert found.operations == found.matrix + 2 * 5 * 6 + 5 * 16
    assert found.bytes_read == 2 * 32 + 5 * 16 + 3 * 4 + 2 * 4 + 2 * 4
    assert found.bytes_written == 2 * 32


@pytest.mark.parametrize("inplace", [True, False])
def test_append_moves_the_tokens_and_copies_the_rest(inplace: bool) -> None:
    """Four tokens: one is padding, two go to one slot; a cache of 8 places."""
    formats = {"k": "f16", "v": "f16", "k_cache": "e4m3fn", "v_cache": "e4m3fn", "out": "e4m3fn"}
    operands = {name: Stored((4, 1, 8), "f16") for name in "kv"}
    operands |= {f"{name}_cache": Stored((2, 4, 1, 8), "e4m3fn") for name in "kv"}
    operands |= {"slots": Stored((4,), "i32"), "k_scale": Stored((), "f32"), "v_scale": Stored((), "f32")}
    call = Given(operands, {"slots": (-1, 3, 5, 3)})
    features = frozenset({"scales", "padding"} | ({"inplace"} if inplace else set()))
    found = cost(_kernel("kv_append", formats, features=features), formats, call)
    assert found.operations == 2 * 2 * 8 * 2
    rest = 0 if inplace else 2 * (8 - 2) * 8
    assert found.bytes_read == 2 * 2 * 8 * 2 + rest + 4 * 4 + 2 * 4
    assert found.bytes_written == 2 * 2 * 8 + rest


def test_quantized_codes_of_four_bits_are_half_a_byte_and_scales_count() -> None:
    """NVFP4 of 4 x 64: 128 bytes of codes, a byte for each 16, one f32 on top; MXFP8: 256 bytes and one for each 32."""
    for name, codes, scales in (("nvfp4", 128, 16 + 4), ("mxfp8_e4m3", 256, 8)):
        found = _counted(
            "quantize", {"x": (4, 64)}, {"x": "bf16", "out": "e4m3fn" if codes == 256 else "e2m1fn"}, scaling=name
        )
        assert (found.bytes_read, found.bytes_written) == (512, codes + scales)
        assert found.operations == 4 * 256 + 2 * (17 if codes == 128 else 8)


def test_dequantize_by_hand() -> None:
    """Back to bf16: 3 x 64 codes of MXFP8, a rounding and a scale each."""
    call = Given({"codes": Stored((3, 64), "e4m3fn"), "scale": Stored((3, 2), "e8m0fnu")})
    kernel = _kernel("dequantize", {"out": "bf16"}, scaling="mxfp8_e4m3")
    assert cost(kernel, kernel.format_sets[0], call) == Cost(2 * 192, 192 + 6, 384)


def test_scaled_gemm_counts_packed_codes_and_each_groups_scale() -> None:
    """NVFP4, 2 x 32 by 32 x 3: k from the packed codes, two groups of 16 on either side."""
    formats = {"a": "e2m1fn", "b": "e2m1fn", "out": "bf16"}
    operands = {"a": Stored((2, 16), "u8"), "b": Stored((16, 3), "u8")}
    operands |= {"scale_a": Stored((2, 2), "e4m3fn"), "scale_b": Stored((2, 3), "e4m3fn")}
    kernel = _kernel("scaled_gemm", formats, scaling="nvfp4")
    found = cost(kernel, formats, Given(operands))
    assert found.matrix == 2 * 6 * 32
    assert found.operations == found.matrix + 6 * 2 * 2
    assert (found.bytes_read, found.bytes_written) == (32 + 48 + 4 + 6, 12)


def test_other_formats_change_the_bytes_alone() -> None:
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    call = _call({"a": (3, 5), "b": (5, 7)}, formats)
    half = {"a": "bf16", "b": "bf16", "out": "f32"}
    full, other = (cost(_kernel("gemm", one), one, call.of(one)) for one in (formats, half))
    assert full.operations == other.operations
    assert (full.bytes_read, other.bytes_read) == (200, 100)


REAL = "numpy/matmul numpy/softmax numpy/logsumexp numpy/attention numpy/paged-gather torch/kv-append"


@pytest.mark.parametrize("name", REAL.split())
def test_bytes_of_real_calls(name: str) -> None:
    """What is counted is what the arrays of the call hold, less what the op does not need of them."""
    kernel = find((), (name,)).kernels[0]
    check, trial = choices(kernel, usual_cases(kernel.op), Terms())[0]
    found = evidence(check, trial, sets=1)
    call = found.calls[0]
    counted = cost(kernel, trial.formats, given(trial, call))
    assert counted.bytes_written == sum(codes.nbytes for codes in call.codes if codes is not None)
    held = sum(operand.codes.nbytes for operand in call.operands.values())
    unread = held - counted.bytes_read
    assert unread == 0 if kernel.op not in ("paged_attention", "kv_append") else 0 < unread < held
    assert (counted.operations == 0) == (kernel.op == "kv_append")  # codes of one format are only moved
