"""Transformers' quantized KV caches: bit for bit their published rule, and attention right on what they return."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pytest
import quantized_caches as rules
from quantized_caches import Floats, Returned

from lastbit.references.attention import attention_truth
from lastbit.references.attention_mask import Problem
from lastbit.references.truth import Truth
from lastbit.verdict import Outcome

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from recorded_attention import LAYERS, SIZE, WORDS, Record, judged, recorded, tiny, values
from transformers import QuantizedCache, cache_utils

from lastbit.providers.transformers import kernels

CONTRACTS = {kernel.name.partition("/")[2]: kernel.contract for kernel in kernels()}
#: Tokens of each forward call: the residual of quanto is stored twice, once amid a chunk.
PARTS = (6, 1, 1, 3, 1, 2, 1, 1)
RESIDUAL = 4
FORMATS = ("f32", "bf16", "f16")
GROUPS = {"4bit": (4, SIZE), "4bit-wide": (4, 2 * SIZE), "2bit": (2, SIZE)}
RULES: dict[str, Callable[[Sequence[Floats], str], list[Returned]]] = {
    name: partial(rules.in_groups, bits=bits, group=group, residual=RESIDUAL) for name, (bits, group) in GROUPS.items()
} | {"fp8": rules.in_fp8}


@pytest.fixture(autouse=True)
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """quanto builds its C++ unpack when it first needs it, which takes a minute; this one stands in for it."""
    module = pytest.importorskip("optimum.quanto.library.extensions.cpp", reason="optimum-quanto is not installed")

    class Unpack:
        @staticmethod
        def unpack(packed: Any, bits: int) -> Any:
            return torch.cat([(packed >> place) & (2**bits - 1) for place in range(0, 8, bits)])

    monkeypatch.setattr(module.ext, "_lib", Unpack)


def store(name: str, config: Any) -> Any:
    if name == "fp8":
        return QuantizedCache("fp8", config)
    bits, group = GROUPS[name]
    return QuantizedCache("quanto", config, nbits=bits, q_group_size=group, residual_length=RESIDUAL)


def run(name: str, fmt: str, seed: int = 2) -> Record:
    with recorded() as record:
        model, start = tiny("sdpa", fmt, seed), 0
        cache = store(name, model.config)
        for count in PARTS:
            model(torch.arange(start, start + count)[None] * 7 % WORDS, past_key_values=cache, use_cache=True)
            start += count
    return record


@lru_cache
def sound(name: str, fmt: str) -> Record:
    """`run`, nothing being planted, kept for the next test."""
    return run(name, fmt)


def expected(record: Record, name: str, fmt: str, layer: int) -> tuple[list[Returned], list[Returned]]:
    """What the cache of a layer has to return for keys and for values, by update."""
    rows = [row for row in record.appended if row[0] == layer]
    found = [RULES[name]([values(row[i], fmt) for row in rows], fmt) for i in (1, 2)]
    return found[0], found[1]


def differing(record: Record, name: str, fmt: str) -> int:
    """How many elements that attention got are not what the rule says."""
    count = 0
    for layer in range(LAYERS):
        calls = [call for call in record.calls if call.layer == layer]
        for call, k, v in zip(calls, *expected(record, name, fmt, layer), strict=True):
            for got, want in ((call.k, k), (call.v, v)):
                same = got.shape == want.values.shape
                count += int((values(got, fmt) != want.values).sum()) if same else want.values.size
    return count


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("name", RULES)
def test_cache_returns_what_its_rule_says_bit_for_bit(name: str, fmt: str) -> None:
    record = sound(name, fmt)
    assert len(record.calls) == LAYERS * len(PARTS)
    assert differing(record, name, fmt) == 0


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("name", RULES)
def test_attention_is_right_on_what_the_cache_returned(name: str, fmt: str) -> None:
    """The kernel's own error: truth by the dequantized keys and values."""
    contract = CONTRACTS["sdpa" if fmt == "f32" else f"sdpa-{fmt}"]
    for call in sound(name, fmt).calls:
        assert [verdict.outcome for verdict in judged(call, call.k, call.v, fmt, contract)] == [Outcome.PASS]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("name", RULES)
def test_format_error_is_within_what_the_rule_derives(
    name: str, fmt: str, record_property: Callable[[str, Any], None]
) -> None:
    """The cache's own error, apart from the kernel's: of keys and values, and of attention's exact result; in dB."""
    record = sound(name, fmt)
    signal = noise = 0.0
    for layer in range(LAYERS):
        calls = [call for call in record.calls if call.layer == layer]
        for call, k, v in zip(calls, *expected(record, name, fmt, layer), strict=True):
            first, second = (values(x, fmt) for x in record.tokens(layer, k.values.shape[2]))
            got = values(call.k, fmt), values(call.v, fmt)
            assert (np.abs(got[0] - first) <= k.error).all()
            assert (np.abs(got[1] - second) <= v.error).all()
            q = values(call.q, fmt)
            exact, quantized = exactly(q, first, second), exactly(q, *got)
            allowed = rules.moved(q[0], first[0], second[0], k.error[0], v.error[0], SIZE**-0.5)
            # 2^-30: more than the float64 roundings of `moved`.
            allowed = allowed * (1 + 2.0**-30) + exact.radius[0] + quantized.radius[0]
            assert (np.abs(exact.hi - quantized.hi)[0] <= allowed).all()
            signal += float(np.square(exact.hi).sum())
            noise += float(np.square(exact.hi - quantized.hi).sum())
    assert noise > 0
    record_property("sqnr_db", round(float(10 * np.log10(signal / noise)), 1))


def step_of_16(patch: pytest.MonkeyPatch) -> None:
    """The range is divided by the number of codes, not by the number of steps."""
    optimizer = pytest.importorskip("optimum.quanto").MaxOptimizer
    right = optimizer.optimize

    def wrong(self: Any, base: Any, qtype: Any, axis: int) -> Any:
        scale, shift = right(self, base, qtype, axis)
        return scale * (2**qtype.bits - 1) / 2**qtype.bits, shift

    patch.setattr(optimizer, "optimize", wrong)


def group_of_all(patch: pytest.MonkeyPatch) -> None:
    """Groups are twice as long as asked for."""
    layer = cache_utils.QuantoQuantizedLayer
    right = layer._quantize

    def wrong(self: Any, tensor: Any, axis: int) -> Any:
        self.q_group_size, asked = 2 * self.q_group_size, self.q_group_size
        found = right(self, tensor, axis)
        self.q_group_size = asked
        return found

    patch.setattr(layer, "_quantize", wrong)


def values_by_keys_codes(patch: pytest.MonkeyPatch) -> None:
    """What is stored for the keys is returned for the values, too."""
    layer = cache_utils.QuantoQuantizedLayer
    right = layer._dequantize

    def wrong(self: Any, stored: Any) -> Any:
        return right(self, self._quantized_keys if stored is self._quantized_values else stored)

    patch.setattr(layer, "_dequantize", wrong)


def scale_drifts(patch: pytest.MonkeyPatch) -> None:
    """Each token is stored by a scale of its own, and read by the first one."""
    layer = cache_utils.Fp8QuantizedLayer
    right = layer._quantize
    patch.setattr(layer, "_quantize", lambda self, tensor, scale=None: right(self, tensor))


def scale_of_448_to_240(patch: pytest.MonkeyPatch) -> None:
    """The largest number of another FP8 format."""
    patch.setattr(cache_utils.Fp8QuantizedLayer, "fp8_max", 240.0)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (step_of_16, "4bit"),
        (step_of_16, "2bit"),
        (group_of_all, "4bit"),
        (values_by_keys_codes, "4bit"),
        (scale_drifts, "fp8"),
        (scale_of_448_to_240, "fp8"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_fault_in_quantization_shows_in_the_cache_alone(
    plant: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention is right on wrong keys, so that it takes both tests above to hold a quantized cache."""
    plant(monkeypatch)
    record = run(name, "f32")
    assert differing(record, name, "f32") > 0
    for call in record.calls:
        assert judged(call, call.k, call.v, "f32", CONTRACTS["sdpa"])[0].outcome is Outcome.PASS


def exactly(q: Floats, k: Floats, v: Floats) -> Truth:
    return attention_truth(Problem(q, k, v, causal=True)).out
