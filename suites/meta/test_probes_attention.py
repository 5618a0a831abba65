"""The probes of attention: they recover how it was built, and one change of it flips its own line alone."""

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_sheet import PROBES
from lastbit.suites.zoo.attention_parts import BF16, F16, F32, FEATURES, Knobs, attend, bf16, through
from lastbit.suites.zoo.attention_variants import VARIANTS

f16, e4m3 = through(np.float16), through(ml_dtypes.float8_e4m3fn)


def answers(kernel: Kernel) -> dict[str, Any]:
    """The values of all answers in the kernel's first formats."""
    found = PROBES["attention"](asker(kernel, kernel.format_sets[0], "cpu"))
    assert all(answer.evidence or answer.indeterminate_reason for answer in found)
    return {answer.property: answer.value for answer in found}


def summed(q: Any, k: Any) -> Any:
    """Scores whose bits do not depend on the number of rows, as BLAS's do."""
    return (q[:, None, :] * k[None]).sum(-1, dtype=np.float32)


def probed(formats: dict[str, str] = F32, features: frozenset[str] = FEATURES, **knobs: Any) -> dict[str, Any]:
    run = partial(attend, knobs=Knobs(**knobs))
    kernel = Kernel("mine/attention", "attention", run, formats, Contract(), framework="numpy", features=features)
    return answers(kernel)


PLAIN = {fmt["q"]: probed(fmt) for fmt in (F32, BF16)}
#: Lines whose bits BLAS decides.
BITS = {"query_invariance", "key_order"}


def changed(formats: dict[str, str] = F32, **knobs: Any) -> dict[str, Any]:
    """The lines that differ from those of the plain attention, without those that BLAS decides."""
    first, second = PLAIN[formats["q"]], probed(formats, **knobs)
    return {name: second[name] for name in first if first[name] != second[name] and name not in BITS}


def test_the_plain_attention():
    wanted = {
        "probabilities": "f32",
        "sink": "kept",
        "running_maximum": "one for 256 keys",
        "equal_maxima": "exact",
        "masked_row": "zero",
        "masked_keys": "ignored",
        "batch_invariance": "holds",
        "repeatable": True,
    }
    for found in PLAIN.values():
        assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("formats", "weight", "name", "least"),
    [(F32, bf16, "bf16", -134), (BF16, bf16, "bf16", -134), (BF16, f16, "f16", -25)],
)
def test_the_format_of_weights_flips_its_lines_alone(formats, weight, name, least):
    found = changed(formats, weight=weight)
    assert found.pop("probabilities") == name
    assert found.pop("smallest_weight") in (least, least + 1)
    assert found in ({}, {"sink": "lost from 20 on"})


def test_flushed_weights_in_bf16_are_still_told():
    def flushed(p: Any) -> Any:
        return np.where(np.abs(p) < 2.0**-126, np.float32(0), bf16(p))

    found = changed(BF16, weight=flushed)
    assert (found["probabilities"], found["smallest_weight"]) == ("bf16", -126)


def test_weights_in_fp8_collapse():
    found = changed(BF16, weight=e4m3)
    assert found["probabilities"] == "e4m3fn"
    assert found["smallest_weight"] == -10
    assert found["sink"] != "kept"


def test_weights_in_scaled_fp8_reach_further():
    found = changed(BF16, weight=lambda p: e4m3(p * np.float32(256)) / np.float32(256))
    assert found["probabilities"] == "e4m3fn times 256"
    assert found["smallest_weight"] == -18
    assert found["sink"] == "lost from 20 on"


@pytest.mark.parametrize("tile", [128, 100, 12, 5])
def test_tiles_are_measured(tile):
    last = 255 // tile * tile
    told = f"grows by tiles, the last from key {last} of 256" if last < 255 else "grows by tiles"
    for formats in (F32, BF16):
        assert changed(formats, tile=tile) == {"running_maximum": told}


def test_an_empty_row_flips_its_line_alone():
    assert changed(empty=np.nan) == {"masked_row": "NaN"}
    assert changed(empty=None) == {"masked_row": "mean"}


def test_masked_keys_that_are_computed_flip_their_line_alone():
    assert changed(ignore=False) == {"masked_keys": "computed"}


def test_f16_results_hide_what_they_hide():
    found = probed(F16)
    assert found["running_maximum"] is None
    assert found["smallest_weight"] is None
    assert found["probabilities"] == "f32"
    assert probed(F16, weight=f16)["probabilities"] == "f16"


def test_a_kernel_without_a_mask_has_no_masked_rows():
    found = probed(features=FEATURES - {"mask", "additive_mask", "causal_mask"})
    assert (found["masked_row"], found["masked_keys"]) == (None, None)


def test_rows_that_are_summed_apart_are_invariant():
    found = probed(dot=summed)
    assert found["query_invariance"] in ("holds", PLAIN["f32"]["query_invariance"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("attention-split-bf16", {"running_maximum": "of parts that are combined, the first of 52 keys"}),
        ("attention-masked_row_declared", {"masked_row": "NaN"}),
        ("attention-computed_declared", {"masked_keys": "computed"}),
        ("attention-nondeterministic", {"repeatable": False}),
        ("attention-weights_bf16", {"probabilities": "bf16"}),
        ("attention-exp2-f32", {"probabilities": "f32"}),
        ("attention-batch_variant", {"masked_row": "zero"}),
    ],
)
def test_right_variants_of_the_zoo_are_what_they_say(name, wanted):
    found = answers(next(one for one in VARIANTS if one.name.startswith(name)).build())
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(("fmt", "weights"), [("f32", "f32"), ("bf16", "bf16"), ("f16", "f16")])
def test_torch_rounds_its_weights_as_its_contract_says(fmt, weights):
    torch = pytest.importorskip("torch")

    def run(q: Any, k: Any, v: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    formats = dict.fromkeys(("q", "k", "v", "out"), fmt)
    found = answers(Kernel("mine/attention", "attention", run, formats, Contract()))
    assert found["probabilities"] == weights
    assert found["masked_row"] is None
