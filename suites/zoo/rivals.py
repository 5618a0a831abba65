"""The rivals: rules that kernels are tested by elsewhere, each on its own customary data, for the rooms it covers."""

from collections.abc import Mapping

from lastbit.suites.zoo import rival_rules as rules
from lastbit.suites.zoo import rival_scaled as scaled
from lastbit.suites.zoo import rival_serving as serving
from lastbit.suites.zoo import tosa_data
from lastbit.suites.zoo.rival import Rival
from lastbit.suites.zoo.rival_data import (
    SOFTMAXES,
    Array,
    Draw,
    Fill,
    Rng,
    attention,
    gemm,
    half,
    integers,
    normal,
    per_op,
    rows,
    symmetric,
    unit,
)

#: What `every` draws, in words.
EVERY = (
    "N(0, 1); GEMM 64x64x128, softmax 64x128, attention 2x2x128x32 causal, gradients of length 64, packed 64+17+1+46, "
    "paged one query, append of 42 tokens, conversions 64x128, scaled GEMM 64x64x256 with random scales"
)


def every(fill: Fill) -> dict[str, Draw]:
    """One way to fill, for every room; scaled products are of N(0, 1)."""
    return {
        **per_op(fill),
        "attention gradients": serving.gradients(fill),
        "packed attention": serving.packed(fill),
        "paged_attention": serving.paged(fill),
        "kv_append": serving.append(fill),
        "cast": scaled.cast(fill),
        "quantize": scaled.quantized(fill),
        "dequantize": scaled.dequantized(fill),
        "scaled_gemm": scaled.scaled_gemm(),
    }


def rival(name: str) -> Rival:
    """The rival of this name, or the user's own judge that "module:function" names.

    Raises UsageError as own_judge.load.
    """
    for one in RIVALS:
        if one.name == name:
            return one
    from lastbit.suites.zoo.own_judge import load

    return load(name)


def _narrow(rng: Rng, shape: tuple[int, ...]) -> Array:
    """U(-1/sqrt(d), 1/sqrt(d)), d the last axis."""
    return rng.uniform(-(shape[-1] ** -0.5), shape[-1] ** -0.5, shape)


def _sparse(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Integers from -4 to 4, of which so many are not zero that 32 products, of at most 8, are exact in bf16."""
    return integers(4)(rng, shape) * (rng.random(shape) < 32 / shape[-1])


def _ops(draws: Mapping[str, Draw], *names: str) -> dict[str, tuple[Draw, ...]]:
    return {name: (draw,) for name, draw in draws.items() if not names or name in names}


#: Formats that tests of 16-bit and 32-bit kernels have limits for.
_FLOATS = frozenset({"f16", "bf16", "f32"})
#: Every rival.
RIVALS: tuple[Rival, ...] = (
    Rival(
        "assert_close",
        rules.assert_close,
        _ops(every(normal)),
        EVERY,
        "pytorch/pytorch:torch/testing/_comparison.py @003029b0",
    ),
    Rival(
        "1e-2",
        rules.hundredth,
        _ops(every(normal)),
        EVERY,
        "the pair most written by hand: triton's tutorials, flashinfer-ai/flashinfer:tests @fb28d724 (117 places)",
    ),
    Rival(
        "KernelBench",
        rules.kernelbench,
        _ops(per_op(unit, 2, 16384)),
        "U(0, 1), 5 trials; GEMM 64x64x128, softmax 2x16384, attention 2x2x128x32 causal",
        "ScalingIntelligence/KernelBench:src/kernelbench/eval.py @423217d9",
        _FLOATS,
        trials=5,
    ),
    Rival(
        "FlashAttention 2x",
        rules.twice_plain,
        {
            "attention": (attention(normal, l=128), attention(normal, b=1, l=113)),
            **_ops(every(normal), "attention gradients", "packed attention", "paged_attention"),
        },
        "N(0, 1), causal, lengths 128 and 113, packed 64+17+1+46; gradients 3x, length 64; paged 2x, one query",
        "Dao-AILab/flash-attention:tests/test_flash_attn.py @0251105a",
        frozenset({"f16", "bf16"}),
    ),
    Rival(
        "cosine",
        rules.cosine,
        _ops(every(normal), "gemm", "attention", "scaled_gemm"),
        "N(0, 1); GEMM 64x64x128, attention 2x2x128x32 causal, scaled GEMM 64x64x256 with random scales",
        "flashinfer-ai/flashinfer:tests/gemm, FP8 block-scale, 0.99 @fb28d724",
    ),
    Rival(
        "NMSE",
        rules.nmse,
        _ops(every(symmetric), *per_op(symmetric), "cast", "scaled_gemm"),
        "U(-1, 1); GEMM 64x64x128, softmax 64x128, attention 2x2x128x32 causal, cast 64x128; scaled GEMM as above",
        "ggml-org/ggml:tests/test-backend-ops.cpp @d99724f2",
    ),
    Rival(
        "TOSA",
        rules.dot_product,
        {"gemm": tosa_data.SETS},
        "its six data sets, GEMM 32x32x128",
        "arm/tosa-specification:pseudocode/library/tosa_reference_check_dotproduct.tosac @cd5acdd",
        _FLOATS,
    ),
    Rival(
        "benchdnn",
        rules.equal,
        {"gemm": (gemm(_sparse, other=integers(2)),)},
        "sparse integers whose sums are exact, GEMM 64x64x128",
        "uxlfoundation/oneDNN:tests/benchdnn/matmul/cfg.cpp, utils/cfg.hpp @3f27bec",
    ),
    Rival(
        "CUTLASS profiler",
        rules.relatively_equal,
        {"gemm": (gemm(integers(4)),)},
        "integers from -4 to 4, GEMM 64x64x128",
        "NVIDIA/cutlass:tools/profiler/src/options.cu, include/cutlass/relatively_equal.h @7107b05",
    ),
    Rival(
        "hipBLASLt norm",
        rules.norm,
        {"gemm": (gemm(half),)},
        "U(-1/2, 1/2), GEMM 64x64x128",
        "ROCm/hipBLASLt:clients/include/norm.hpp @7d9fb68",
        _FLOATS,
    ),
    Rival(
        "FlashInfer mismatches",
        rules.mismatches,
        _ops(every(normal), "gemm", "attention", "packed attention", "paged_attention"),
        "N(0, 1); GEMM 64x64x128, attention 2x2x128x32 causal, packed 64+17+1+46, paged one query; its 16-bit limits",
        "flashinfer-ai/flashinfer:tests/test_helpers, assert_close_with_mismatch_tolerance @fb28d724",
    ),
    Rival(
        "ONNX",
        rules.onnx,
        {
            "gemm": (gemm(normal, 3, 3, 4),),
            "attention": (attention(normal, 2, 3, 4, 8),),
            **dict.fromkeys(SOFTMAXES, (rows(normal, 12, 5),)),
            "cast": (scaled.cast(normal, 3, 4),),
            "quantize": (scaled.quantized(normal, 3, 4, rules=("given",)),),
            "dequantize": (scaled.dequantized(normal, 3, 32, elements=("i8", "u8", "i4", "u4")),),
        },
        "N(0, 1); GEMM 3x3x4, softmax 12x5, attention 2x3x4x8, cast and quantize with given scales 3x4, dequantize "
        "integers 3x32",
        "onnx/onnx:onnx/backend/test/runner and case/node @f754691",
    ),
    Rival(
        "vLLM",
        rules.vllm,
        {"paged_attention": (serving.paged(_narrow),), "kv_append": (serving.append(_narrow),)},
        "U(-1/sqrt(d), 1/sqrt(d)); paged attention, one query, d = 32; 42 tokens appended",
        "vllm-project/vllm:tests/kernels/attention/test_attention.py @00df0753, test_cache.py",
    ),
    Rival(
        "torchao SQNR",
        rules.sqnr,
        {
            "quantize": (scaled.quantized(normal, codes=False),),
            "scaled_gemm": (scaled.scaled_gemm(names=("mxfp8", "mxfp4", "nvfp4")),),
        },
        "N(0, 1) quantized and back, 64x128; scaled GEMM of MX and NVFP4 to f32 against its dequantized operands",
        "pytorch/ao:test/prototype/mx_formats/test_mx_tensor.py, test_mx_mm.py; test/float8/test_base.py",
        frozenset({*rules.FLOORS, "f32"}),
    ),
)
