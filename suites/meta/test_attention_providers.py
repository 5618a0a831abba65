"""Each attention of each provider runs with every part that it names, and is near a plain f64 evaluation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lastbit
from lastbit import arrays
from lastbit.contract import Contract, resolved
from lastbit.discovery import find
from lastbit.kernel import Kernel
from lastbit.references.attention_mask import Problem, addends, kept
from lastbit.references.formats import Format
from lastbit.verify import verify

KERNELS = tuple(
    kernel
    for kernel in find(only=["torch/*", "numpy/*", "triton/*"]).kernels
    if kernel.op == "attention" and "cpu" in kernel.devices and "compiled" not in kernel.name
)
SETS = [(kernel, formats) for kernel in KERNELS for formats in kernel.format_sets]
IDS = [f"{kernel.name}-{formats['out']}" for kernel, formats in SETS]
B, HQ, LQ, LK, D = 2, 4, 5, 9, 8
#: Keywords of a call that use one feature, by feature; arrays are drawn by `call`.
USES: dict[str, dict[str, Any]] = {
    "scale": {"scale": 0.7},
    "causal": {"causal": True},
    "window": {"window": (2, 1)},
    "mask": {"mask": "keep"},
    "additive_mask": {"mask": "add"},
    "causal_mask": {"mask": "keep", "causal": True},
    "bias": {"bias": "heads"},
    "softcap": {"softcap": 1.5},
    "sinks": {"sinks": "heads"},
    "gqa": {},
    "dv": {},
}


def naive(problem: Problem) -> np.ndarray:
    """Plain f64: every score, its exp, and the mean."""
    out = np.zeros(problem.shape)
    for b, h in np.ndindex(problem.shape[:2]):
        s = problem.q[b, h] @ problem.k[b, problem.key_head(h)].T * problem.factor
        s = problem.softcap * np.tanh(s / problem.softcap) if problem.softcap else s
        s = s + sum(addends(problem, b, h, slice(None)), np.zeros(s.shape))
        p = np.where(kept(problem, b, h, slice(None)), np.exp(s), 0.0)
        total = p.sum(1, keepdims=True) + (0.0 if problem.sinks is None else np.exp(problem.sinks[h]))
        out[b, h] = np.where(total == 0, 0.0, p @ problem.v[b, problem.key_head(h)] / np.where(total == 0, 1, total))
    return out


def tensor(kernel: Kernel, values: np.ndarray, fmt: str) -> Any:
    codes = values.astype(np.uint8) if fmt == "bool" else Format.of(fmt).encode(values)
    return arrays.tensor(codes, fmt, kernel.framework)


def call(kernel: Kernel, formats: dict[str, str], feature: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The kernel's result with one feature in use, the naive one, and its log-sum-exp if it has one."""
    rng = np.random.default_rng(5)
    fmt = formats["out"]
    hkv, dv = (2 if feature == "gqa" else HQ), (D + 4 if feature == "dv" else D)
    options = dict(USES[feature])
    values = {"q": (B, HQ, LQ, D), "k": (B, hkv, LK, D), "v": (B, hkv, LK, dv)}
    drawn = {name: Format.of(fmt).round(rng.standard_normal(shape)) for name, shape in values.items()}
    given = {name: tensor(kernel, array, fmt) for name, array in drawn.items()}
    mask = options.pop("mask", "")
    if mask:
        keep = rng.random((B, 1, LQ, LK)) < 0.6
        keep[0, 0, 2] = False
        drawn["mask"] = keep if mask == "keep" else np.where(keep, rng.choice([0.0, -0.5, 1.25], keep.shape), -np.inf)
        given["mask"] = tensor(kernel, drawn["mask"], "bool" if mask == "keep" else fmt)
    for name, shape, own in (("bias", (1, HQ, LQ, LK), fmt), ("sinks", (HQ,), "f64" if fmt == "f64" else "f32")):
        if options.pop(name, ""):
            drawn[name] = Format.of(own).round(rng.standard_normal(shape))
            given[name] = tensor(kernel, drawn[name], own)
    contract = resolved(kernel.contract, formats)
    problem = Problem(**drawn, **options, causal_alignment=contract.causal_alignment)
    positional = [given.pop(name) for name in ("q", "k", "v")]
    result = kernel.run(*positional, **given, **options)
    out, lse = result if "lse" in kernel.features else (result, None)
    border = arrays.of(kernel.framework)
    found = Format.of(fmt).decode(border.codes(out, fmt))
    return (
        found,
        naive(problem),
        None if lse is None else Format.of(formats["lse"]).decode(border.codes(lse, formats["lse"])),
    )


@pytest.mark.parametrize(("kernel", "formats"), SETS, ids=IDS)
def test_every_feature_does_what_it_says(kernel: Kernel, formats: dict[str, str]) -> None:
    """Within 32 roundings of the coarsest format on the way: a feature that is ignored is off by far more."""
    coarsest = max(Format.of(fmt).u for fmt in (formats["out"], kernel.contract.probabilities or formats["out"]))
    for feature in sorted(USES.keys() & kernel.features):
        found, want, lse = call(kernel, formats, feature)
        assert np.abs(found - want).max() <= 32 * coarsest * np.abs(want).max(), feature
        assert lse is None or np.isfinite(lse).sum() >= lse.size - HQ * LQ, feature


def test_features_change_the_result() -> None:
    """The test above would notice: each feature moves the naive result by more than it allows in bf16."""
    kernel = next(kernel for kernel in KERNELS if kernel.name == "numpy/attention")
    formats = kernel.format_sets[-1]
    for feature in USES.keys() - {"gqa", "dv"}:
        plain, with_it = call(kernel, formats, "scale")[1], call(kernel, formats, feature)[1]
        assert feature == "scale" or np.abs(plain - with_it).max() > 32 * 2.0**-8 * np.abs(with_it).max()


def test_kernels_cite_their_promises() -> None:
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS) >= 10
    assert all(kernel.contract.source for kernel in KERNELS)
    assert {fmt["out"] for _, fmt in SETS} == {"f64", "f32", "f16", "bf16"}


def test_backend_that_refuses_is_unsupported() -> None:
    """PyTorch's flash attention takes no operand whose last dimension is strided; its dispatcher falls back."""
    case = "layout one_hot/batch2-hq2-hkv2-lq5-lk33-d20-dv20/k:transposed+v:transposed"
    outcomes = {}
    for name in ("torch/sdpa", "torch/sdpa-flash"):
        report = verify(next(kernel for kernel in KERNELS if kernel.name == name), tier="smoke", case=case)
        outcomes[name] = {str(record.outcome) for record in report.records}
    assert outcomes == {"torch/sdpa": {"pass"}, "torch/sdpa-flash": {"unsupported"}}


def test_flex_leaves_the_switch_as_it_was() -> None:
    from torch.nn.attention import flex_attention as module

    before = module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
    call(*next(pair for pair in SETS if pair[0].name == "torch/flex"), "causal")
    assert before is module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG is False


@pytest.mark.parametrize("name", ["triton/flash", "triton/split-kv"])
def test_infinite_values_stay_in_their_part(name: str) -> None:
    """A tile of keys reaches into the next part, whose values would be multiplied by a weight of zero: inf * 0."""
    kernel = next(kernel for kernel in KERNELS if kernel.name == name)
    report = verify(kernel, tier="smoke", case="special normal/batch1-hq2-hkv2-lq6-lk20-d16-dv16")
    assert report.passed, str(report)


def test_top_left_and_bottom_right_are_told_apart() -> None:
    """A causal PyTorch kernel under the other alignment is wrong, so the contract's field is not idle."""
    kernel = next(kernel for kernel in KERNELS if kernel.name == "torch/sdpa-math")
    wrong = lastbit.Kernel(
        name="zoo/misaligned",
        op="attention",
        run=kernel.run,
        formats=kernel.format_sets[1],
        contract=Contract(masked_keys="computed"),
        devices=("cpu",),
        features=kernel.features,
    )
    case = "masks one_hot/batch1-hq1-hkv1-lq5-lk21-d16-dv16/causal=1"
    assert not verify(wrong, tier="smoke", case=case).passed


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from lastbit.providers.triton_attention_backward import keys_and_values, queries
from lastbit.providers.triton_attention_kernels import combine, forward

def compiled(function, values, types, target):
    function = JITFunction(function)
    signature = {n: "constexpr" if n in values else types.get(n, "i32") for n in function.arg_names}
    constants = {(function.arg_names.index(n),): value for n, value in values.items()}
    asm = triton.compile(ASTSource(function, signature=signature, constexprs=constants), target=target).asm
    return asm.get("ptx") or asm["amdgcn"]

found = []
for target in (GPUTarget("cuda", 90, 32), GPUTarget("hip", "gfx942", 64)):
    types = {name: "*bf16" for name in ("q", "k", "v", "out")} | {"lse": "*fp32", "scale": "fp32"}
    types |= {"ends_q": "*i32", "ends_k": "*i32"}
    blocks = {"BM": 32, "BN": 32, "BD": 64, "BV": 64, "q_d": 1, "k_d": 1, "v_d": 1}
    for packed in (False, True):
        found.append(compiled(forward, blocks | {"PACKED": packed}, types, target))
    blocks |= {"g_d": 1}
    types |= {name: "*bf16" for name in ("g", "dq", "dk", "dv")}
    found.append(compiled(keys_and_values, blocks, types, target))
    found.append(compiled(queries, blocks, types, target))
    types = {"parts_out": "*fp32", "parts_lse": "*fp32", "out": "*bf16", "lse": "*fp32"}
    found.append(compiled(combine, {"BM": 32, "BV": 64}, types, target))
matrix = ["mma.sync" in text for text in found[:4]] + ["v_mfma" in text for text in found[5:9]]
print(*matrix, len(found[4]) > 0, len(found[9]) > 0)
"""


@pytest.mark.slow
def test_triton_attention_compiles_for_gpus_that_are_not_here(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    path = f"import lastbit; lastbit.__path__[:] = {json.dumps(list(lastbit.__path__))}\n"
    command = [sys.executable, "-c", path + COMPILE]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == ["True"] * 10
