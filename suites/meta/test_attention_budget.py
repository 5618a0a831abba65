"""No honest attention kernel is ever over its budget, in whatever order it works; faulty ones are, on sharp data."""

from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from simulated_attention import FAULTS, Style, simulate

from lastbit.attention_budget import _spread, budget, weigh
from lastbit.attention_statistics import sample
from lastbit.attention_terms import _updates, exponents, working
from lastbit.contract import Contract, resolved
from lastbit.errors import KernelError
from lastbit.gemm_budget import BudgetError
from lastbit.judge import judge
from lastbit.references.accumulators import Accumulator
from lastbit.references.attention import Problem, attention_truth, blocks
from lastbit.references.attention_data import RECIPES, operands, problem_of, reason_not
from lastbit.references.formats import Format
from lastbit.statistics import judge_statistics
from lastbit.vacuity import vacuity
from lastbit.verdict import Outcome

SIZES = {"batch": 1, "hq": 4, "hkv": 2, "lq": 33, "lk": 130, "d": 32, "dv": 24}
STYLES = (
    Style(),
    Style(early=True),
    Style(tile=16),
    Style(tile=64, exp2=True),
    Style(tile=128, root_scale=True),
    Style(tile=1),
    Style(tile=16, reverse=True),
    Style(tile=16, splits=4),
    Style(tile=32, splits=3, exp2=True),
    Style(tile=32, rounded_sum=True),
    Style(tile=8, fma=True),
    Style(tile=16, splits=5, lse_scale=True, exp_ulp=2.0, biased=True),
)
OPTIONS = {
    "plain": ({}, ()),
    "causal": ({"causal": True}, ("bias",)),
    "window": ({"window": (20, 3), "softcap": 15.0}, ("mask", "sinks")),
}
FORMATS = {
    "bf16": {"q": "bf16", "k": "bf16", "v": "bf16", "out": "bf16"},
    "f16": {"q": "f16", "k": "f16", "v": "f16", "out": "f16"},
    "f32": {"q": "f32", "k": "f32", "v": "f32", "out": "f32"},
    "bf16-f32": {"q": "bf16", "k": "bf16", "v": "bf16", "out": "f32"},
}


def contract_of(formats, **fields):
    """The contract of a flash-attention kernel: P in the format of V, everything else in f32."""
    narrow = None if formats["v"] in ("f32", "f64") else formats["v"]
    return resolved(Contract(**{"probabilities": narrow, **fields}), formats)


@cache
def given(recipe, kind, option, seed=0, lq=33):
    """Problem, truth and budgets of a case."""
    formats, (options, extras) = FORMATS[kind], OPTIONS[option]
    sizes = {**SIZES, "lq": lq, "lk": 128 if recipe == "uniform" else 130}
    drawn = operands(recipe, formats, sizes, seed, extras=extras, options=options)
    contract = contract_of(formats)
    problem = problem_of(drawn, options, contract)
    truth = attention_truth(problem)
    return problem, truth, budget(contract, formats, problem, truth), contract


def outcomes(problem, truth, budgets, contract, style, out, seed=0):
    """The verdicts on a simulated kernel's result and log-sum-exp."""
    y, lse = simulate(problem, style, out, seed)
    f32 = Format.of("f32")
    first = judge(Format.of(out).encode(y), out, truth.out, budgets[0], contract)
    return first, judge(f32.encode(lse), "f32", truth.lse, budgets[1], contract)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_honest_kernels_are_within_budget(recipe, kind):
    tried = 0
    for number, (option, (options, extras)) in enumerate(OPTIONS.items()):
        if reason_not(recipe, FORMATS[kind], SIZES, options, extras):
            continue
        case = given(recipe, kind, option)
        for style in STYLES[number :: 2 if recipe in ("sharp", "increasing") else 3]:
            style = replace(style, probabilities=case[3].probabilities or "")
            out, lse = outcomes(*case, style, FORMATS[kind]["out"], seed=number)
            assert out.outcome is Outcome.PASS, f"{option} {style}: {out.reason}"
            if not style.rounded_sum:  # a log-sum-exp of rounded weights is no kernel's promise
                assert lse.outcome is Outcome.PASS, f"{option} {style}: {lse.reason}"
            tried += 1
    assert tried or recipe in ("uniform", "poison")


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm_over_seeds(seed):
    recipe = ("sharp", "sharper", "increasing", "equal_maxima")[seed % 4]
    kind = ("bf16", "f16", "f32", "bf16-f32")[seed // 4 % 4]
    case = given(recipe, kind, ("plain", "causal", "window")[seed % 3], seed)
    style = replace(STYLES[seed % 9], probabilities=case[3].probabilities or "", exp_ulp=2.0)
    for verdict in outcomes(*case, style, FORMATS[kind]["out"], seed):
        assert verdict.outcome is Outcome.PASS, verdict.reason


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_over_budget(fault, kind):
    """On sharp data; a lost rescale shows where the maximum still moves at the end."""
    case = given("increasing" if fault == "rescale" else "sharp", kind, "causal")
    style = Style(tile=16, splits=4 if fault == "split" else 1, probabilities=case[3].probabilities or "", fault=fault)
    out, lse = outcomes(*case, style, FORMATS[kind]["out"])
    assert out.outcome.failed
    assert out.measured > 1.2
    if fault in ("last_key", "causal", "exp", "scores_bf16", "head_map", "scale_twice", "split"):
        assert lse.outcome.failed


@pytest.mark.parametrize("kind", FORMATS)
def test_budgets_are_not_vacuous(kind):
    for recipe in RECIPES:
        formats = FORMATS[kind]
        if not reason_not(recipe, formats, SIZES, *OPTIONS["causal"]):
            problem, truth, (out, _), contract = given(recipe, kind, "causal")
            assert vacuity(formats["out"], truth.out, out, contract) == "", recipe
            assert problem.causal


def plain_f64(problem, dtype=np.float64):
    """The textbook formula, in f64 but for the logits' product."""
    k = np.repeat(problem.k, problem.heads // problem.k.shape[1], axis=1)
    v = np.repeat(problem.v, problem.heads // problem.k.shape[1], axis=1)
    scores = (problem.q.astype(dtype) @ k.astype(dtype).swapaxes(-1, -2)).astype(np.float64) * problem.factor
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)) @ v


@pytest.mark.parametrize("recipe", ["normal", "sharp", "sharper", "offset"])
def test_f64_kernels_have_a_budget_beside_the_radius(recipe):
    formats = dict.fromkeys(("q", "k", "v", "out"), "f64")
    contract = contract_of(formats)
    problem = problem_of(operands(recipe, formats, SIZES, 3), {}, contract)
    truth = attention_truth(problem)
    out, _ = budget(contract, formats, problem, truth)
    assert (out.allowed >= truth.out.radius).all()
    error = np.abs(plain_f64(problem) - truth.out.hi)
    assert (error <= out.allowed).all()
    assert (np.abs(plain_f64(problem, np.float32) - truth.out.hi) > out.allowed).any()


def narrowed(problem, fmt):
    """The problem whose operands were rounded to a narrower format."""
    target = Format.of(fmt)
    return replace(problem, q=target.round(problem.q), k=target.round(problem.k), v=target.round(problem.v))


@pytest.mark.parametrize(("promise", "fmt"), [("tf32", "tf32"), ("bf16", "bf16"), ("f16", "f16")])
def test_a_promised_input_rounding_is_allowed_and_no_other(promise, fmt):
    problem, truth, strict, contract = given("sharp", "f32", "plain")
    loose = budget(replace(contract, input_rounding=promise), FORMATS["f32"], problem, truth)
    y, _ = simulate(narrowed(problem, fmt), Style(tile=32), "f32")
    assert (np.abs(y - truth.out.hi) <= loose[0].allowed).all()
    assert (np.abs(y - truth.out.hi) > strict[0].allowed).any()


def test_logits_in_the_operands_format_are_allowed_where_promised():
    problem, truth, _, contract = given("sharp", "bf16", "causal")
    loose = budget(replace(contract, scores="bf16"), FORMATS["bf16"], problem, truth)
    y, lse = simulate(problem, Style(fault="scores_bf16", probabilities="bf16"), "bf16")
    assert (np.abs(y - truth.out.hi) <= loose[0].allowed).all()
    assert (np.abs(lse - truth.lse.hi) <= loose[1].allowed).all()


@pytest.mark.parametrize("carried", ["bf16", "f16"])
def test_a_narrow_accumulator_is_allowed_where_promised(carried):
    problem, truth, strict, contract = given("increasing", "bf16-f32", "causal")
    loose, _ = budget(replace(contract, accumulator=carried), FORMATS["bf16-f32"], problem, truth)
    y, _ = simulate(problem, Style(tile=4, fault="out_bf16", probabilities="bf16"), "f32")
    assert (np.abs(y - truth.out.hi) > strict[0].allowed).any()
    if carried == "bf16":
        assert (np.abs(y - truth.out.hi) <= loose.allowed).all()


def custom(logits, values, **options):
    """A problem with one head, d = 1 and the given logits (lk,) in row 0, multiples of them in others."""
    q = np.array([1.0, 0.5, 2.0, 0.25, 1.5])[:, None]
    return Problem(q[None, None], np.asarray(logits)[None, None, :, None], values[None, None], scale=1.0, **options)


def test_both_budgets_say_how_many_keys_there_are():
    _, _, (out, lse), _ = given("normal", "f32", "plain")
    assert (out.terms, lse.terms) == (130, 130)


def largest_share(problem, style, **fields):
    """The largest error / budget of a simulated kernel in f32, of result and log-sum-exp."""
    formats = FORMATS["f32"]
    truth = attention_truth(problem)
    out, lse = budget(contract_of(formats, **fields), formats, problem, truth)
    y, z = simulate(problem, style, "f32")
    return np.max(np.abs(y - truth.out.hi) / out.allowed), np.max(np.abs(z - truth.lse.hi) / lse.allowed)


def test_many_updates_with_a_coarse_exp_are_allowed_for():
    """exp is 2000 ulp off in one direction, and every key raises the maximum: errors multiply along the keys."""
    random = np.random.default_rng(0)
    logits = np.float32(np.arange(200) * 0.02).astype(np.float64)
    values = np.sign(np.arange(200) - 100.5)[:, None] * random.uniform(0.5, 1, (200, 4)).astype(np.float32)
    style = Style(tile=1, exp_ulp=2000.0, biased=True)
    shares = largest_share(custom(logits, values), style, exp_ulp=2000.0)
    assert 0.2 < shares[0] < 1
    assert 0.2 < shares[1] < 1
    assert min(largest_share(custom(logits, values), style, exp_ulp=100.0)) > 1


def test_maxima_rounded_where_they_are_used_are_allowed_for():
    logits = np.float32(3e4 + np.arange(300) * 0.125).astype(np.float64)
    values = np.float32(np.random.default_rng(0).standard_normal((300, 4))).astype(np.float64)
    for style in (Style(tile=1, fma=True), Style(tile=16, fma=True), Style(tile=8, exp2=True)):
        assert max(largest_share(custom(logits, values), style)) < 1


def test_splits_weighed_by_a_large_log_sum_are_allowed_for():
    """Values are nearly equal, so that only what a whole row shares is left of the error."""
    random = np.random.default_rng(0)
    logits = np.float32(2e4 + random.standard_normal(256)).astype(np.float64)
    values = np.float32(1 + 2.0**-12 * random.standard_normal((256, 4))).astype(np.float64)
    shares = largest_share(custom(logits, values), Style(tile=16, splits=6, lse_scale=True))
    assert 0.05 < shares[0] < 1
    assert shares[1] < 1


@pytest.mark.parametrize("carried", ["bf16", "f16"])
def test_a_narrow_chain_for_both_products_is_allowed_where_promised(carried):
    """Terms of one sign, so that the narrow sums of logits and of values are far off."""
    formats = FORMATS["bf16-f32"]
    sizes = {"lq": 9, "lk": 33, "d": 48, "dv": 8}
    drawn = operands("one_sided", formats, sizes, 0)
    problem = problem_of(drawn, {}, None)
    problem = replace(problem, q=np.abs(problem.q), k=np.abs(problem.k))
    truth, chain = attention_truth(problem), Accumulator.of(carried)
    out, lse = budget(contract_of(formats, accumulator=carried), formats, problem, truth)
    scores = chain.matmul(problem.q, problem.k.swapaxes(-1, -2)) * problem.factor
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = chain.matmul(Format.of("bf16").round(weights), problem.v) / weights.sum(-1, keepdims=True)
    z = scores.max(-1) + np.log(weights.sum(-1))
    assert (np.abs(y - truth.out.hi) <= out.allowed).all()
    assert (np.abs(z - truth.lse.hi) <= lse.allowed).all()
    strict = budget(contract_of(formats), formats, problem, truth)
    assert (np.abs(y - truth.out.hi) > strict[0].allowed).any() or carried == "f16"  # finer than P
    assert (np.abs(z - truth.lse.hi) > strict[1].allowed).any()


@pytest.mark.parametrize("device", ["h100", "v100", "mi300"])
@pytest.mark.parametrize("recipe", ["sharp", "equal_maxima"])
def test_matrix_engines_are_within_budget(device, recipe):
    """Both products by the simulated engine, block after block, P cast to f16."""
    formats = dict.fromkeys(("q", "k", "v"), "f16") | {"out": "f32"}
    engine = Accumulator.of(device, "f16")
    contract = contract_of(formats, accumulator=replace(engine, order="any"))
    sizes = {"lq": 9, "lk": 64, "d": 32, "dv": 8}
    problem = problem_of(operands(recipe, formats, sizes, 5), {}, contract)
    truth = attention_truth(problem)
    out, _ = budget(contract, formats, problem, truth)
    scores = (engine.matmul(problem.q, problem.k.swapaxes(-1, -2)) * np.float32(problem.factor)).astype(np.float32)
    weights = np.exp((scores - scores.max(-1, keepdims=True)).astype(np.float64)).astype(np.float32)
    p = Format.of("f16").round(weights.astype(np.float64))
    y = (engine.matmul(p, problem.v) / weights.sum(-1, keepdims=True)).astype(np.float32)
    assert (np.abs(y - truth.out.hi) <= out.allowed).all()
    assert (np.abs(y * (1 + 2.0**-7) - truth.out.hi) > out.allowed).any()


@pytest.mark.parametrize("kind", ["bf16-f32", "f32"])
def test_the_derivation_holds_at_its_corners(kind):
    """Every weight, product and sum off by all that is allowed, in the worst direction: within, and nearly at, it."""
    for option in ("plain", "window"):
        problem, truth, _, contract = given("sharp", kind, option)
        work = working(contract, FORMATS[kind])
        parts = weigh(work, problem, truth)
        nearest = 0.0
        for rows in blocks(problem):
            made = exponents(work, problem, rows)
            place = (rows.batch, rows.head, rows.rows)
            exact, values = truth.out.hi[place], problem.v[rows.batch, problem.key_head(rows.head)]
            for column in (0, 7):
                v, o = values[:, column][None, :], exact[:, column][:, None]
                for side in (-1.0, 1.0):
                    weights = rows.weights * np.exp(side * np.sign(v - o) * made.log)
                    up = 1 + side * np.sign(v) * (made.tau + work.u_p * (1 + made.tau))
                    down = 1 - side * np.sign(o) * made.phi
                    sink = rows.sink_weight * np.exp(-side * np.sign(o) * made.sink_log)
                    got = (weights * up * v).sum(1) / ((weights * down).sum(1) + sink[:, 0])
                    last = (1 + work.division) * (1 + made.common[:, 0]) - 1
                    got = got * (1 + side * np.sign(o[:, 0]) * last)
                    ratio = np.abs(got - o[:, 0]) / np.maximum(parts.error[place][:, column], 1e-300)
                    assert ratio.max() <= 1
                    nearest = max(nearest, float(ratio.max()))
        assert nearest > 0.9


def test_updates_bound_every_order_of_the_keys():
    random = np.random.default_rng(0)
    for logits in (random.standard_normal(6), np.round(random.standard_normal(6)), np.arange(6.0)):
        problem = Problem(np.ones((1, 1, 1, 1)), logits.reshape(1, 1, 6, 1), np.ones((1, 1, 6, 1)), scale=1.0)
        rows = next(blocks(problem))
        slack = 0.05
        allowed = _updates(rows, np.full((1, 1), slack))[0]
        most = np.zeros(6)
        for order in permutations(range(6)):
            noisy = logits + slack * np.where(np.arange(6) % 2, 1, -1) * 0.99
            for place, key in enumerate(order):
                top, count = max(noisy[list(order[: place + 1])]), 0
                for later in order[place + 1 :]:
                    count += noisy[later] > top
                    top = max(top, noisy[later])
                most[key] = max(most[key], count)
        assert (most <= allowed).all()
        assert (allowed <= 5).all()
    assert _updates(rows, np.zeros((1, 1)))[0].tolist() == [5, 4, 3, 2, 1, 0]


def test_spread_is_its_definition():
    random = np.random.default_rng(1)
    weights, values, exact = random.random((5, 7)), random.standard_normal((7, 3)), random.standard_normal((5, 3))
    want = (weights[:, :, None] * np.abs(values[None] - exact[:, None])).sum(1)
    assert np.allclose(_spread(weights, values, exact), want, rtol=1e-14)


def test_rows_without_keys_may_not_err():
    problem, truth, (out, lse), _ = given("sharp", "f32", "window")
    empty = truth.lse.hi == -np.inf
    assert problem.sinks is not None
    assert not empty.any()
    bare = replace(problem, sinks=None)
    truth = attention_truth(bare)
    out, lse = budget(contract_of(FORMATS["f32"]), FORMATS["f32"], bare, truth)
    empty = truth.lse.hi == -np.inf
    assert empty.any()
    assert out.allowed[empty].max() < 1e-40
    assert lse.allowed[empty].max() < 1e-40


def test_flushing_is_allowed_where_promised():
    formats = FORMATS["f16"]
    contract = contract_of(formats, subnormals="flush")
    problem = problem_of(operands("normal", formats, SIZES, 1), {}, contract)
    small = replace(problem, v=Format.of("f16").round(problem.v * 2.0**-15))
    truth = attention_truth(small)
    out, _ = budget(contract, formats, small, truth)
    strict, _ = budget(contract_of(formats), formats, small, truth)
    flushed = replace(small, v=np.where(np.abs(small.v) < 2.0**-14, 0.0, small.v))
    y, _ = simulate(flushed, Style(tile=32, probabilities="f16"), "f16")
    assert (np.abs(y - truth.out.hi) <= out.allowed).all()
    assert (np.abs(y - truth.out.hi) > strict.allowed).any()
    assert out.flush_below == 2.0**-14


@pytest.mark.parametrize("accumulator", ["f32", "exact"])
def test_flushed_values_are_allowed_whatever_adds_them(accumulator):
    """V of 2^-15, subnormal in f16, becomes zero before the sum; the result, in f32, is far from being flushed."""
    formats = {"q": "f16", "k": "f16", "v": "f16", "out": "f32"}
    contract = contract_of(formats, accumulator=accumulator, subnormals="flush")
    problem = Problem(np.ones((1, 1, 1, 4)), np.ones((1, 1, 3, 4)), np.full((1, 1, 3, 2), 2.0**-15))
    out, _ = budget(contract, formats, problem, attention_truth(problem))
    assert (out.allowed >= 2.0**-15).all()
    assert (out.allowed < 2.0**-13).all()


def test_contracts_that_cannot_be_read_are_refused():
    problem, truth, _, contract = given("sharp", "f32", "plain")
    with pytest.raises(BudgetError, match="accumulator is None"):
        budget(Contract(), FORMATS["f32"], problem, truth)
    with pytest.raises(KernelError, match="input_rounding is 'f8'"):
        replace(contract, input_rounding="f8")


@pytest.mark.parametrize("kind", ["bf16-f32", "bf16"])
@pytest.mark.parametrize("seed", range(3))
def test_statistics_pass_rounded_weights_and_flag_truncated_ones(seed, kind):
    p, fmt = FORMATS[kind]["v"], Format.of(FORMATS[kind]["out"])
    problem, truth, (out, _), contract = given("one_sided", kind, "plain", seed, lq=257)
    found = sample(contract, FORMATS[kind], problem, truth, out)
    y, _ = simulate(problem, Style(tile=32, probabilities=p), fmt.name, seed)
    honest = judge_statistics(fmt.encode(y[found.index]), fmt, found.truth, found.budget)
    assert honest.outcome is Outcome.PASS, honest.reason
    y, _ = simulate(problem, Style(tile=32, probabilities=p, fault="truncated"), fmt.name, seed)
    verdict = judge_statistics(fmt.encode(y[found.index]), fmt, found.truth, found.budget)
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert judge(fmt.encode(y), fmt, truth.out, out, contract).outcome is Outcome.PASS  # the bound cannot see it
    assert sample(contract_of(FORMATS["f32"]), FORMATS["f32"], problem, truth, out) is None
