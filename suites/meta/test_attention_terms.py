"""The budget of attention is the formula of docs/attention.md 3, written out a second time in scalars."""

from dataclasses import replace

import numpy as np
import pytest
from attention_formulas import CONTRACTS, OPTIONS, SIZES, Promise, U, by_the_book, power

from lastbit import attention_budget
from lastbit.attention_budget import LARGEST, budget, weigh
from lastbit.attention_terms import _updates, dot_error, logit_error, lost_weights, raw_error, working
from lastbit.budget_output import ROUND_UP
from lastbit.contract import Contract
from lastbit.gemm_budget import BudgetError
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import Problem, attention_truth, blocks
from lastbit.references.attention_data import operands, problem_of
from lastbit.references.attention_mask import kept
from lastbit.references.formats import Format


def agree(problem, contract, formats, places=((0, 0, 0), (1, 3, 2), (3, 4, 1), (2, 2, 0))):
    """Whether some elements have the bounds of the book."""
    parts = weigh(working(contract, formats), problem, attention_truth(problem))
    for head, row, column in places:
        if not kept(problem, 0, head, slice(row, row + 1)).any():
            continue
        for name, want in by_the_book(problem, contract, 0, head, row, column, formats).items():
            found = getattr(parts, name)[0, head, row]
            found = found if name == "lse" else found[column]
            want = min(want, LARGEST)
            assert found == pytest.approx(want, rel=1e-7, abs=0), name


@pytest.mark.parametrize("promise", CONTRACTS)
@pytest.mark.parametrize("option", OPTIONS)
def test_bounds_are_the_documented_formula(option, promise):
    """Each contract and each option with each recipe, not all three of them."""
    turn = list(OPTIONS).index(option) + list(CONTRACTS).index(promise)
    recipe = ("normal", "sharp", "sink", "equal_maxima")[turn % 4]
    contract, (options, extras) = CONTRACTS[promise], OPTIONS[option]
    formats = dict.fromkeys(("q", "k", "v"), "f32") | {"out": contract.probabilities or "f32"}
    problem = problem_of(operands(recipe, formats, SIZES, 2, extras=extras, options=options), options)
    agree(problem, contract, formats)


THREE = {"q": "f32", "k": "f16", "v": "bf16", "out": "f32"}


@pytest.mark.parametrize("promise", CONTRACTS)
def test_bounds_of_tiny_values_are_the_documented_formula(promise):
    """V down to 2^-145, where what underflow takes is most of the error."""
    problem = problem_of(operands("normal", dict.fromkeys(("q", "k", "v", "out"), "f32"), SIZES, 3), {})
    for power_ in (-145, -120, -14):
        agree(replace(problem, v=problem.v * 2.0**power_), CONTRACTS[promise], THREE)


@pytest.mark.parametrize("promise", CONTRACTS)
@pytest.mark.parametrize("sinks", [(), ("sinks",)])
@pytest.mark.parametrize("lk", [1, 40])
def test_bounds_of_one_key_and_of_several_blocks_are_the_documented_formula(lk, sinks, promise):
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = problem_of(operands("normal", formats, SIZES | {"lk": lk}, 4, extras=sinks), {})
    agree(problem, CONTRACTS[promise], formats, ((0, 0, 0), (3, 4, 1)))


@pytest.mark.parametrize("size", [1.0, 2.0**-60, 2.0**-70])
@pytest.mark.parametrize("wide", ["q", "k"])
@pytest.mark.parametrize("promise", CONTRACTS)
def test_error_of_a_product_is_the_documented_formula(promise, wide, size):
    """Of q, k and v each has its own smallest normal number."""
    formats = {"q": "f16", "k": "f16", "v": "f64", "out": "f32"} | {wide: "f32"}
    rng = np.random.default_rng(1)
    q, k = (np.ldexp(rng.integers(-7, 8, shape), -3) * size for shape in ((3, 4), (5, 4)))
    q[0, 0], k[1, 1] = 1.125 * size, -1.25 * size
    work, book = working(CONTRACTS[promise], formats), Promise(CONTRACTS[promise], formats)
    found = dot_error(work, q, k, np.abs(q) @ np.abs(k).T)
    for i, j in np.ndindex(3, 5):
        assert found[i, j] == pytest.approx(book.dot(q, i, k, j), rel=2.0**-44, abs=0)


@pytest.mark.parametrize("promise", CONTRACTS)
def test_weights_below_the_normal_range_may_be_missing(promise):
    work, book = working(CONTRACTS[promise], THREE), Promise(CONTRACTS[promise], THREE)
    edges = [2 * fmt.min_normal for fmt in (book.p, book.read) if fmt] + [2.0**-125]
    sizes = [0.0, 1.0, 2.0**-13, 2.0**-13 * 0.99, 2.0**-24, 2.0**-25, 2.0**-26, 2.0**-126, 2.0**-133, 2.0**-134]
    weights = np.array([sizes + edges + [0.99 * edge for edge in edges]])
    assert lost_weights(work, weights)[0].tolist() == [book.missing(weight) for weight in weights[0].tolist()]


def one_logit(q, k, v, **options):
    """One head of two queries, whose second is tiny, and one key of one number."""
    arrays = (np.array([[[[q], [2.0**-20]]]]), np.array([[[[k]]]]), np.array([[[[v]]]]))
    return Problem(*arrays, **options)


@pytest.mark.parametrize(
    ("promise", "q", "k", "v", "lost"),
    [
        (Contract(accumulator="f16"), 256.0, 256.0, 1.0, [True, False]),
        (Contract(accumulator="f16"), -256.0, 255.0, 1.0, [False, False]),
        (Contract(accumulator="f32"), 256.0, 256.0, 1.0, [False, False]),
        (Contract(accumulator="exact"), 2.0**100, 2.0**100, 1.0, [False, False]),
        (Contract(accumulator="f32"), 2.0**64, -(2.0**64), 1.0, [True, False]),
        (Contract(accumulator="f32", scores="f16"), 256.0, 256.0, 1.0, [True, False]),
        (Contract(accumulator="f32", scores="f16"), 256.0, 255.0, 1.0, [False, False]),
        (Contract(accumulator="f32", input_rounding="f16"), 65504.0, -65504.0, 65504.0, [False, False]),
        (Contract(accumulator="f32", input_rounding="f16"), -65505.0, 1.0, 1.0, [True, True]),
        (Contract(accumulator="f32", input_rounding="f16"), 1.0, 65505.0, 1.0, [True, True]),
        (Contract(accumulator="f32", input_rounding="f16"), 1.0, 1.0, -65505.0, [True, True]),
        (Contract(accumulator="f16", input_rounding="f16"), 256.0, 256.0, 1.0, [True, False]),
    ],
)
def test_logits_that_may_overflow_on_their_way_are_told(promise, q, k, v, lost):
    problem = one_logit(q, k, v, scale=2.0**-20)
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    found = weigh(working(promise, formats), problem, attention_truth(problem))
    assert found.lost[0, 0, :, 0].tolist() == lost
    window = budget(promise, formats, problem, attention_truth(problem))[0].overflow_slack
    assert (window is not None and np.isinf(window[0, 0, :, 0]).tolist() == lost) or not any(lost)


def test_no_scale_leaves_nothing_of_a_logit_but_it_may_overflow():
    """A factor of 0: the products are those of the operands themselves."""
    contract, formats = Contract(accumulator="f16"), dict.fromkeys(("q", "k", "v", "out"), "f32")
    for q, k, lost in ((256.0, -256.0, True), (-256.0, 256.0, True), (16.0, 16.0, False)):
        problem = one_logit(q, k, 1.0, scale=0.0)
        rows = next(blocks(problem))
        error, found = raw_error(working(contract, formats), problem, rows)
        assert found[:, 0].tolist() == [lost, False]
        assert not error.any()


def test_error_of_a_logit_before_its_softcap_to_the_last_bits():
    """FP64's own roundings are covered by 1 + 2^-40; numbers of few bits, of which u of f32 rounds sums alone."""
    contract, formats = Contract(accumulator="f32"), dict.fromkeys(("q", "k", "v", "out"), "f32")
    rng = np.random.default_rng(2)
    q, k, v = (np.ldexp(rng.integers(1, 16, (1, 1, n, 4)), -3).astype(float) for n in (2, 3, 3))
    problem = Problem(q, k, v, scale=0.5)
    rows = next(blocks(problem))
    error, _ = raw_error(working(contract, formats), problem, rows)
    weight = q[0, 0] @ k[0, 0].T
    dots = Accumulator.of("f32").bound(q[0, 0], k[0, 0].T, weight=weight * (1 + 2.0**-40))
    want = dots * 0.5 + power(5, U) * (weight * 0.5 + dots * 0.5)
    assert error == pytest.approx(want, rel=2.0**-44, abs=0)


def test_a_logit_far_beyond_its_softcap_keeps_the_error_of_tanh_and_a_trace_of_its_own():
    """tanh is 1 there, to all bits of FP64: of a large error 2^-40 is left."""
    contract = Contract(accumulator="f64", input_rounding="bf16")
    formats = dict.fromkeys(("q", "k", "v", "out"), "f64")
    problem = one_logit(2.0**40, 1.0, 1.0, scale=1.0, softcap=3.0)
    rows, work = next(blocks(problem)), working(contract, formats)
    raw, _ = raw_error(work, problem, rows)
    error, _ = logit_error(work, problem, rows)
    u = 2.0**-53
    grown = raw[0, 0] + 2 * u * (2.0**40 + raw[0, 0])
    assert raw[0, 0] > 2.0**32
    want = grown * 2.0**-40 + 3.0 * (4 * 2 * u + 6 * u) + rows.error[0, 0]
    assert error[0, 0] == pytest.approx(want, rel=2.0**-40)


def test_what_the_truth_doubts_of_a_logit_is_allowed():
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = one_logit(1.5, 1.25, 1.0)
    rows, work = next(blocks(problem)), working(CONTRACTS["eager"], formats)
    certain, doubted = (logit_error(work, problem, replace(rows, error=rows.error * 0 + x))[0] for x in (0.0, 0.25))
    assert doubted - certain == pytest.approx(0.25, rel=1e-12)


def test_rows_without_keys_have_bounds_of_nearly_nothing():
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = replace(one_logit(1.0, 1.0, 1.0), mask=np.array([[[[False], [True]]]]))
    for contract in CONTRACTS.values():
        out, lse = budget(contract, formats, problem, attention_truth(problem))
        parts = weigh(working(contract, formats), problem, attention_truth(problem))
        assert 0 <= parts.error[0, 0, 0, 0] < (2.0**-10 if contract.exp_ulp < 2.0**23 else LARGEST)
        assert parts.lse[0, 0, 0] == 0 < parts.lse[0, 0, 1]
        assert np.isfinite(out.allowed).all()
        assert np.isfinite(lse.allowed).all()


@pytest.mark.parametrize("piece", [1, 7, 8, 14, 1000])
def test_distances_to_the_result_are_summed_whatever_is_weighed_at_a_time(monkeypatch, piece):
    monkeypatch.setattr(attention_budget, "PIECE", piece)
    rng = np.random.default_rng(1)
    weights, values, exact = rng.random((5, 7)), rng.standard_normal((7, 3)), rng.standard_normal((5, 3))
    want = (weights[:, :, None] * np.abs(values[None] - exact[:, None])).sum(1)
    assert attention_budget._spread(weights, values, exact) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("sinks", [(), ("sinks",)])
def test_weights_that_the_truth_doubts_are_as_large_as_they_may_be(monkeypatch, sinks):
    """The bounds of weights known to a factor of 1.5 are those of weights that are 1.5 times larger."""
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = problem_of(operands("normal", formats, SIZES, 4, extras=sinks), {})
    work, exact = working(CONTRACTS["bf16"], formats), attention_truth(problem)

    def bounds(*names):
        def grown(problem):
            for rows in blocks(problem):
                yield replace(rows, **{name: getattr(rows, name) * 1.5 for name in names})

        monkeypatch.setattr(attention_budget, "blocks", grown)
        return weigh(work, problem, exact)

    doubted, wanted = bounds("doubt"), bounds("weights", "sink_weight")
    for name in ("error", "without_cast", "cast", "size", "reach", "lse"):
        assert getattr(doubted, name) == pytest.approx(getattr(wanted, name), rel=1e-12, abs=0), name


def raises(logits, slack):
    problem = Problem(
        np.ones((1, 1, 1, 1)), np.reshape(logits, (1, 1, -1, 1)), np.ones((1, 1, len(logits), 1)), scale=1.0
    )
    return _updates(next(blocks(problem)), np.full((1, 1), slack))[0].tolist()


def test_a_key_as_large_may_raise_the_maximum_and_one_below_twice_the_error_may_not():
    """Twice the error, grown by 2^-40 for FP64's own rounding."""
    assert raises([1.0, 1.0, 1.0], 0.0) == [2, 2, 2]
    assert raises([3.0, 1.0, 2.0], 0.0) == [0, 2, 1]
    edge = 0.5 - 2.0**-41
    assert raises([1.0, edge + 2.0**-50], 0.25) == [1, 1]
    assert raises([1.0, edge - 2.0**-50], 0.25) == [0, 1]
    assert raises([1.0, edge], 0.25) == [1, 1]


def test_an_accumulator_that_is_not_filled_in_is_refused():
    with pytest.raises(BudgetError, match="accumulator is None; fill it in with lastbit"):
        working(Contract(), dict.fromkeys("qkv", "f32"))


def test_the_radius_is_added_and_the_output_rounded_once():
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = problem_of(operands("sharp", formats, SIZES, 1), {})
    truth = attention_truth(problem)
    contract = Contract(accumulator="f32")
    out, lse = budget(contract, formats, problem, truth)
    wide = replace(
        truth,
        out=replace(truth.out, radius=truth.out.radius + 0.25),
        lse=replace(truth.lse, radius=truth.lse.radius + 0.5),
    )
    more, further = budget(contract, formats, problem, wide)
    assert np.allclose(more.allowed - out.allowed, 0.25, rtol=1e-9)
    assert np.allclose(further.allowed - lse.allowed, 0.5, rtol=1e-9)
    narrow, _ = budget(contract, formats | {"out": "bf16"}, problem, truth)
    half = Format.of("bf16").ulp(np.abs(truth.out.hi) + out.allowed) / 2
    assert np.allclose(narrow.allowed, out.allowed + half, rtol=1e-9, atol=0)
    short, low = budget(contract, formats | {"lse": "bf16"}, problem, truth)
    assert np.array_equal(short.allowed, out.allowed)
    assert (low.allowed >= lse.allowed + Format.of("bf16").ulp(truth.lse.hi) / 2).all()


def test_bounds_are_rounded_up_and_told():
    formats = dict.fromkeys(("q", "k", "v", "out"), "f32")
    problem = problem_of(operands("normal", formats, SIZES, 4), {})
    exact = attention_truth(problem)
    out, lse = budget(CONTRACTS["bf16"], formats, problem, exact)
    parts = weigh(working(CONTRACTS["bf16"], formats), problem, exact)
    assert out.allowed == pytest.approx((parts.error + exact.out.radius) * ROUND_UP, rel=2.0**-47, abs=0)
    assert lse.allowed == pytest.approx((parts.lse + exact.lse.radius) * ROUND_UP, rel=2.0**-47, abs=0)
    assert out.formula == (
        "sum_j P_j (E_j + exponents)*|V_j - O|, E of 9 terms in f32"
        " + sum_j P_j |V_j| (11 keys in f32) + |O| (11 keys, division)"
        " + u_bf16*sum_j P_j |V_j| + radius of the truth"
    )
    assert lse.formula == "sum_j P_j (E_j + exponents) + sum of the weights + log + u*|lse|, absolute"
    assert (out.source, lse.source) == ("attention.md 3; attention.md 2", "attention.md 3")
    assert out.unstatistical == lse.unstatistical
    assert out.unstatistical.startswith("the errors of a row's logits are shared by its columns")
    plain, _ = budget(CONTRACTS["f32"], formats, problem, exact)
    assert "u_" not in plain.formula
    assert (plain.sigma, out.sigma) == (None, None)


def test_eight_bounds_that_mean_nothing_add_up_to_a_number_and_little_more_does_not():
    assert np.inf > LARGEST * 8
    with np.errstate(over="ignore"):
        assert np.float64(LARGEST) * 8.5 == np.inf


def test_what_a_contract_promises_is_read_as_documented():
    formats = dict.fromkeys(("q", "k", "v", "out"), "bf16")
    work = working(Contract(accumulator="f32", probabilities="bf16", exp_ulp=3.0), formats)
    assert (work.u, work.exp, work.u_p, work.u_s, work.division) == (U, 6 * U, 2.0**-8, 0.0, 4 * U)
    assert (work.name, work.least, work.flush) == ("f32", 2.0**-126, False)
    assert work.flushed == (0.0, 0.0, 0.0)
    wide = working(Contract(accumulator="f64", probabilities="f32"), formats)
    assert (wide.name, wide.u, wide.least, wide.u_p) == ("f64", 2.0**-53, 2.0**-1022, U)
    same = working(Contract(accumulator="f32", probabilities="f32", scores="f32"), formats)
    assert (same.u_p, same.probabilities, same.u_s, same.scores) == (0.0, None, 0.0, None)
    flushing = working(Contract(accumulator="f32", subnormals="flush"), formats | {"k": "f16", "v": "e4m3fn"})
    assert flushing.flushed == (2.0**-126, 2.0**-14, 0.0)
