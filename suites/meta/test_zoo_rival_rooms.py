"""The rivals' data for conversions, scaled products, caches, gradients and packed batches: right, and honest gaps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.kernel import Kernel
from lastbit.suites.zoo import rival_rules as rules
from lastbit.suites.zoo.collection import specimen, variants
from lastbit.suites.zoo.rival import Rival, accepts, answer
from lastbit.suites.zoo.rival_data import Question, normal
from lastbit.suites.zoo.rivals import RIVALS, every
from lastbit.suites.zoo.specimen import room

DRAWS = every(normal)
ROOMS = ("cast", "quantize", "dequantize", "scaled_gemm", "kv_append", "paged_attention", "packed attention")
BLIND_TO_NAN = {"FlashInfer mismatches"}


def right(of: str) -> list[Kernel]:
    """The zoo's right kernels of a room."""
    return [one for one in (variant.build() for variant in variants()) if room(one) == of]


def named(name: str) -> Rival:
    return next(rival for rival in RIVALS if rival.name == name)


def changed(kernel: Kernel, change: Callable[[Any], Any]) -> Kernel:
    """The kernel with every array that it returns changed."""

    def run(*given: Any, **options: Any) -> Any:
        result = kernel.run(*given, **options)
        return tuple(change(one) for one in result) if isinstance(result, tuple) else change(result)

    return replace(kernel, run=run)


def asked(kernel: Kernel, seed: int = 1) -> Question | None:
    return DRAWS[room(kernel)](np.random.default_rng(seed), kernel)


@pytest.mark.parametrize("of", [*ROOMS, "attention gradients"])
def test_right_kernels_give_the_answers_of_the_data(of: str) -> None:
    seen = 0
    for kernel in right(of):
        question = asked(kernel)
        if question is None:
            continue
        found = answer(kernel, question)
        assert found is not None, kernel.name
        for obtained, about in zip(found, (question, *question.others), strict=True):
            worst = np.abs(obtained - about.expected).max()
            assert worst <= 0.02 * np.abs(about.expected).max(), (kernel.name, about.name)
        seen += 1
    assert seen >= 5


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
@pytest.mark.parametrize("of", [*ROOMS, "attention gradients"])
def test_results_of_zeros_are_rejected_by_every_rule_that_covers_the_room(rival: Rival, of: str) -> None:
    for kernel in right(of):
        said = accepts(rival, changed(kernel, np.zeros_like), 0)
        assert said is not True or (rival.name, of) in ZEROS_PASS, kernel.name
        if of not in rival.draws:
            assert said is None


#: vLLM's customary data are so small that an allowed difference of 1e-3 to 1e-2 is much of them.
ZEROS_PASS = {("vLLM", "paged_attention")}


def test_rules_have_nothing_to_say_where_their_publishers_have_not() -> None:
    gradient, paged = right("attention gradients")[0], right("paged_attention")[0]
    assert accepts(named("KernelBench"), gradient, 0) is None, "it asks for results alone"
    assert accepts(named("TOSA"), paged, 0) is None
    integers = next(one for one in right("quantize") if one.format_sets[0]["out"] == "i8")
    assert accepts(named("torchao SQNR"), integers, 0) is None, "it has no floor for 8-bit integers"
    stochastic = [one for one in right("cast") if one.contract.output_rounding == "stochastic"]
    assert [accepts(named("1e-2"), one, 0) for one in stochastic] == [None] * len(stochastic)
    assert stochastic


def test_kernel_with_a_wrong_gradient_alone_is_rejected() -> None:
    kernel = next(one for one in right("attention gradients") if one.format_sets[0]["out"] == "f32")

    def run(*given: Any, **options: Any) -> Any:
        *others, last = kernel.run(*given, **options)
        return (*others, -last)

    assert accepts(named("1e-2"), kernel, 0) is True
    assert accepts(named("1e-2"), replace(kernel, run=run), 0) is False


def test_kernel_that_returns_too_few_results_or_raises_is_rejected() -> None:
    kernel = right("attention gradients")[0]
    for run in (lambda *given, **options: kernel.run(*given, **options)[:2], lambda *given, **options: 1 / 0):
        assert accepts(named("1e-2"), replace(kernel, run=run), 0) is False


def question(expected: float, **fields: Any) -> Question:
    one = asked(specimen("gemm-honest-f32").build())
    assert one is not None
    values = np.full((4, 4), expected)
    return replace(one, exact=values, expected=values, plain=values, **fields)


@pytest.mark.parametrize(
    ("format", "decibel", "accepted"),
    [
        ("e4m3fn", 18.5, True),
        ("e4m3fn", 17.5, False),
        ("e2m1fn", 12.5, True),
        ("f32", 79.0, False),
        ("f32", 81.0, True),
    ],
)
def test_sqnr_has_the_floor_of_the_element(format: str, decibel: float, accepted: bool) -> None:
    one = question(1.0, format=format)
    assert rules.sqnr(one.expected + 10 ** (-decibel / 20), one) is accepted


def test_vllm_allows_attention_a_thousandth_and_narrow_caches_a_tenth() -> None:
    one = question(1.0)
    assert rules.vllm(one.expected + 9e-4, one)
    assert not rules.vllm(one.expected + 2e-3, one)
    kernel = next(each for each in right("kv_append") if each.format_sets[0]["k_cache"] == "e4m3fn")
    narrow = asked(kernel)
    assert narrow is not None
    assert rules.vllm(narrow.expected * 1.09, narrow)
    assert not rules.vllm(narrow.expected * 1.2, narrow)


def test_gradients_are_allowed_three_times_the_plain_error() -> None:
    for name, factor in (("out", 2.0), ("dq", 3.0)):
        one = question(1.0, name=name)
        rough = replace(one, plain=one.expected + 0.25)
        assert rules.twice_plain(one.expected + 0.25 * factor, rough)
        assert not rules.twice_plain(one.expected + 0.25 * factor + 0.01, rough)


def test_casts_have_the_least_limit_of_the_mean_square() -> None:
    cast = next(
        one
        for one in right("cast")
        if one.format_sets[0]["out"] == "bf16" and one.contract.output_rounding != "stochastic"
    )
    one = asked(cast)
    assert one is not None
    assert rules.nmse(one.expected * (1 + 3e-4), one)
    assert not rules.nmse(one.expected * (1 + 4e-4), one)
