"""The rivals: rules that kernels are tested by elsewhere, each on its own customary data, run over the zoo."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lastbit import arrays
from lastbit.kernel import OPERANDS, Kernel
from lastbit.references.formats import Format
from lastbit.suites.zoo import rival_rules as rules
from lastbit.suites.zoo import tosa_data
from lastbit.suites.zoo.rival_data import (
    SOFTMAXES,
    Array,
    Draw,
    Question,
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

#: Whether a result is accepted.
Rule = Callable[[Array, Question], bool]
#: Seconds that work which goes on after a call is waited for, as a device is.
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Rival:
    """A rule, the data that it is customarily used on, and where both are published."""

    name: str
    rule: Rule
    #: Data sets of each op; a kernel has to be accepted on all of them.
    draws: Mapping[str, tuple[Draw, ...]]
    #: The data in words.
    data: str
    source: str
    #: Output formats that it has a limit for; empty: any.
    formats: frozenset[str] = frozenset()
    #: Calls with new data of each set.
    trials: int = 1


def rival(name: str) -> Rival:
    """The rival of this name, or the user's own judge that "module:function" names.

    Raises UsageError as own_judge.load.
    """
    for one in RIVALS:
        if one.name == name:
            return one
    from lastbit.suites.zoo.own_judge import load

    return load(name)


def accepts(rival: Rival, kernel: Kernel, seed: int) -> bool | None:
    """Whether the rival accepts the kernel under this seed; None where the op or format is none of its."""
    draws = rival.draws.get(kernel.op, ())
    if not draws or (rival.formats and kernel.format_sets[0]["out"] not in rival.formats):
        return None
    rng = np.random.default_rng((seed, *rival.name.encode()))
    return all(_accepted(rival, kernel, draw(rng, kernel)) for draw in draws for _ in range(rival.trials))


def _accepted(rival: Rival, kernel: Kernel, question: Question) -> bool:
    obtained = answer(kernel, question)
    return obtained is not None and rival.rule(obtained, question)


def answer(kernel: Kernel, question: Question) -> Array | None:
    """The values that the kernel returns, in f64; None where it raises or returns no array of the shape and type.

    The call is as bare as that of the tests that the rivals are from: no guards, no poison, the same process.
    """
    given = {name: arrays.tensor(one.codes, one.format, "numpy") for name, one in question.operands.items()}
    positional = [given[name] for name in OPERANDS[kernel.op] if name != "out"]
    keywords: dict[str, Any] = dict(question.options)
    border = arrays.of("numpy")
    if "out" in kernel.features and kernel.op == "gemm":
        empty = np.zeros(question.exact.shape, arrays.code_dtype(question.format))
        keywords["out"] = arrays.tensor(empty, question.format, "numpy")
    before = set(threading.enumerate())
    try:
        with np.errstate(all="ignore"):
            result = kernel.run(*positional, **keywords)
    except Exception:
        return None
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    if "lse" in kernel.features:
        result = result[0]
    if isinstance(result, np.ndarray) and type(result) is not np.ndarray:
        result = result.__array__()  # comparing makes a lazy array compute
    if border.misfit(result, question.exact.shape, question.format, "cpu"):
        return None
    return Format.of(question.format).decode(border.codes(result, question.format))


def _sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
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
        _ops(per_op(normal)),
        "N(0, 1); GEMM 64x64x128, softmax 64x128, attention 2x2x128x32 causal",
        "pytorch/pytorch:torch/testing/_comparison.py @003029b0",
    ),
    Rival(
        "1e-2",
        rules.hundredth,
        _ops(per_op(normal)),
        "N(0, 1); GEMM 64x64x128, softmax 64x128, attention 2x2x128x32 causal",
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
        {"attention": (attention(normal, l=128), attention(normal, b=1, l=113))},
        "N(0, 1), causal, lengths 128 and 113",
        "Dao-AILab/flash-attention:tests/test_flash_attn.py @0251105a",
        frozenset({"f16", "bf16"}),
    ),
    Rival(
        "cosine",
        rules.cosine,
        _ops(per_op(normal), "gemm", "attention"),
        "N(0, 1); GEMM 64x64x128, attention 2x2x128x32 causal",
        "flashinfer-ai/flashinfer:tests/gemm, FP8 block-scale, 0.99 @fb28d724",
    ),
    Rival(
        "NMSE",
        rules.nmse,
        _ops(per_op(symmetric)),
        "U(-1, 1); GEMM 64x64x128, softmax 64x128, attention 2x2x128x32 causal",
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
        _ops(per_op(normal), "gemm", "attention"),
        "N(0, 1); GEMM 64x64x128, attention 2x2x128x32 causal; its limits for 16-bit formats",
        "flashinfer-ai/flashinfer:tests/test_helpers, assert_close_with_mismatch_tolerance @fb28d724",
    ),
    Rival(
        "ONNX",
        rules.onnx,
        {"gemm": (gemm(normal, 3, 3, 4),), **dict.fromkeys(SOFTMAXES, (rows(normal, 12, 5),))},
        "N(0, 1); GEMM 3x3x4, softmax 12x5",
        "onnx/onnx:onnx/backend/test/runner and case/node @f754691",
    ),
)
