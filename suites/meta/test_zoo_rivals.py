"""The rivals accept the right answer, reject gross errors, and are blind where their published rules are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.references.data import Operand
from lastbit.suites.zoo import rival_rules as rules
from lastbit.suites.zoo.collection import specimen
from lastbit.suites.zoo.rival import Rival, accepts, answer
from lastbit.suites.zoo.rival_data import Question, attention, gemm, normal, rows
from lastbit.suites.zoo.rival_score import Round, answers, judged
from lastbit.suites.zoo.rivals import RIVALS
from lastbit.suites.zoo.specimen import kernel

BLIND_TO_NAN = {"FlashInfer mismatches"}
ATTENTION = {"q": "bf16", "k": "bf16", "v": "bf16", "out": "bf16"}


def named(name: str) -> Rival:
    return next(rival for rival in RIVALS if rival.name == name)


def question(format: str = "f32", seed: int = 0) -> Question:
    one = kernel("one", "gemm", lambda a, b: a, {"a": format, "b": format, "out": format}, Contract())
    return gemm(normal, 40, 30, 64)(np.random.default_rng(seed), one)


def attend(q: Any, k: Any, v: Any, causal: bool = False) -> Any:
    scores = q.astype(float) @ np.swapaxes(k.astype(float), -1, -2) / np.sqrt(q.shape[-1])
    scores = np.where(np.tri(q.shape[-2], dtype=bool) | (not causal), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v.astype(float)).astype(np.float32).astype(q.dtype)


def one_for(rival: Rival, change: Any = lambda out: out) -> Any:
    """A right kernel of an op of the rival's, its result changed."""
    if "gemm" in rival.draws:
        formats = {"a": "bf16", "b": "bf16", "out": "bf16"}
        run = lambda a, b: change((a.astype(float) @ b.astype(float)).astype(np.float32).astype(a.dtype))  # noqa: E731
        return kernel("one", "gemm", run, formats, Contract())
    run = lambda q, k, v, causal: change(attend(q, k, v, causal))  # noqa: E731
    return kernel("one", "attention", run, ATTENTION, Contract(), features=frozenset({"causal"}))


@pytest.mark.parametrize(
    "rival", [one for one in RIVALS if {"gemm", "attention"} & one.draws.keys()], ids=lambda rival: rival.name
)
@pytest.mark.parametrize("seed", [0, 1])
def test_rival_accepts_the_right_answer_and_rejects_gross_errors(rival: Rival, seed: int) -> None:
    assert accepts(rival, one_for(rival), seed) is True
    for change in (np.zeros_like, lambda out: -out, lambda out: np.roll(out, 1, axis=-1)):
        assert accepts(rival, one_for(rival, change), seed) is False
    poisoned = accepts(rival, one_for(rival, lambda out: out * np.float32("nan").astype(out.dtype)), seed)
    assert poisoned is (rival.name in BLIND_TO_NAN)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_rival_says_where_it_is_from_and_on_what_data(rival: Rival) -> None:
    assert rival.source
    assert rival.data
    assert rival.draws


def test_rival_has_nothing_to_say_of_other_ops_and_formats() -> None:
    assert accepts(named("TOSA"), specimen("softmax-honest-f32").build(), 0) is None
    assert accepts(named("KernelBench"), specimen("gemm-in_f64-f64").build(), 0) is None


def test_kernel_that_raises_or_returns_another_shape_is_rejected() -> None:
    def raises(a: Any, b: Any) -> Any:
        raise ValueError("no such tile")

    for run in (raises, lambda a, b: (a @ b).T, lambda a, b: (a @ b).astype(float)):
        wrong = kernel("one", "gemm", run, {"a": "f32", "b": "f32", "out": "f32"}, Contract())
        assert accepts(named("cosine"), wrong, 0) is False


def test_data_depend_on_the_seed_and_the_rival_alone() -> None:
    draw = gemm(normal)
    one = specimen("gemm-honest-f32").build()
    first, again, other = (draw(np.random.default_rng(seed), one).exact for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_answers_of_the_data_are_right() -> None:
    rng = np.random.default_rng(0)
    one = specimen("softmax-honest-f32").build()
    for op in ("softmax", "log_softmax", "logsumexp"):
        x = rows(normal, 5, 9)(np.random.default_rng(3), replace(one, op=op))
        weights = np.exp(x.operands["x"].values)
        total = weights.sum(-1, keepdims=True)
        right = {"softmax": weights / total, "log_softmax": np.log(weights / total), "logsumexp": np.log(total)[:, 0]}
        assert np.allclose(x.exact, right[op], rtol=1e-12, atol=1e-14)
    causal = kernel("one", "attention", attend, ATTENTION, Contract(), features=frozenset({"causal"}))
    drawn = attention(normal, 1, 2, 7, 4)(rng, causal)
    assert drawn is not None
    found = answer(causal, drawn)
    assert found is not None
    (obtained,) = found
    assert np.abs(obtained - drawn.exact).max() < 2.0**-7
    assert np.array_equal(drawn.exact[..., 0, :], drawn.operands["v"].values[..., 0, :]), "row 0 sees key 0 alone"
    assert 0 < np.abs(drawn.plain - drawn.expected).max() < 0.1, "plain code rounds more often"


@pytest.mark.parametrize(
    ("rule", "size", "accepted"),
    [
        (rules.assert_close, 1e-6, True),
        (rules.assert_close, 1e-4, False),
        (rules.hundredth, 5e-3, True),
        (rules.hundredth, 5e-2, False),
        (rules.kernelbench, 5e-5, True),
        (rules.kernelbench, 1e-3, False),
        (rules.nmse, 2e-2, True),
        (rules.nmse, 3e-2, False),
        (rules.relatively_equal, 9e-2, True),
        (rules.relatively_equal, 2e-1, False),
        (rules.norm, 5e-6, True),
        (rules.norm, 5e-5, False),
        (rules.onnx, 5e-4, True),
        (rules.onnx, 5e-3, False),
        (rules.cosine, 9.0, True),
        (rules.equal, 0.0, True),
        (rules.equal, 1e-6, False),
    ],
)
def test_rule_has_its_published_limit(rule: Any, size: float, accepted: bool) -> None:
    """A result that is too large by a factor; the cosine accepts any."""
    one = question()
    assert rule(one.expected * (1 + size), one) is accepted


def test_tosa_weighs_errors_by_the_magnitudes_and_looks_at_their_sum() -> None:
    one = question("f16")
    unit = one.weight * 2.0**-11
    assert rules.dot_product(one.exact, one)
    one_far = one.exact.copy()
    one_far[3, 4] += 1.5 * unit[3, 4]
    assert rules.dot_product(one_far, one)
    one_far[3, 4] += unit[3, 4]
    assert not rules.dot_product(one_far, one), "twice ksb = 1 is the limit of an element"
    assert not rules.dot_product(one.exact + 1.9 * unit, one), "the squares add up to more than 1.6 ksb T"


def test_twice_plain_follows_the_plain_error() -> None:
    one = question()
    spread = replace(one, plain=one.expected + 0.25)
    assert rules.twice_plain(one.expected + 0.49, spread)
    assert not rules.twice_plain(one.expected + 0.51, spread)


def test_mismatches_do_not_count_nan() -> None:
    one = question()
    bad = one.expected.copy()
    bad[0, 0] = np.nan
    assert rules.mismatches(bad, one)
    bad[0, 0] = 1e9
    assert not rules.mismatches(bad, one)


def test_rivals_are_scored_over_the_specimens_of_their_ops_under_every_seed() -> None:
    faulty, variants = [specimen("gemm-zeros-f32"), specimen("softmax-no_work-f32")], [specimen("gemm-in_f64-f32")]
    told: list[tuple[int, int]] = []
    (found,) = judged(
        [named("TOSA")],
        faulty,
        variants,
        ((0, 1), (0,)),
        workers=1,
        progress=lambda *said: told.append(said[:2]),
    )
    assert [(one.specimen, one.seed, one.caught) for one in found.sightings] == [
        ("gemm-zeros-f32", 0, True),
        ("gemm-zeros-f32", 1, True),
        ("gemm-in_f64-f32", 0, False),
    ]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert found.data == named("TOSA").data


def test_each_rival_meets_a_fresh_kernel() -> None:
    """A kernel that tires after three calls is right for every rival that asks once, whatever others asked before."""
    for _ in range(4):
        (one,) = answers(Round("cosine", ("gemm-tires_after_3-f32",), 0)).sightings
        assert not one.caught
    (one,) = answers(Round("KernelBench", ("gemm-tires_after_3-f32",), 0)).sightings
    assert one.caught, "it asks five times"


def test_operands_are_of_the_kernels_formats() -> None:
    one = question("bf16")
    assert {operand.format for operand in one.operands.values()} == {"bf16"}
    assert np.array_equal(Operand.of(one.exact, "bf16").values, one.expected)
