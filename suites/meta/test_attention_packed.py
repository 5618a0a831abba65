"""A packed batch is its sequences, each on its own: truth, budgets and gradients, with any lengths."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastbit.attention_budget import budget
from lastbit.contract import Contract, resolved
from lastbit.references.attention import Problem, attention_truth
from lastbit.references.attention_backward import attention_gradients
from lastbit.references.attention_data import problem_of
from lastbit.references.attention_packed import packed
from lastbit.references.attention_packed_data import cumulative, packed_operands

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None
)
FORMATS = dict.fromkeys(("q", "k", "v", "out"), "f32")
SIZES = {"hq": 2, "hkv": 1, "lq": 9, "lk": 9, "d": 8, "dv": 3}
LENGTHS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=5)
OPTIONS = st.sampled_from([{}, {"causal": True}, {"window": (1, 0)}, {"causal": True, "window": (2, -1), "scale": 0.7}])


def spans(lengths):
    """(queries, keys) of each sequence as slices."""
    ends = np.concatenate([np.zeros((1, 2), int), np.cumsum(np.array(lengths).reshape(-1, 2), axis=0)])
    return [tuple(slice(int(a[n]), int(b[n])) for n in (0, 1)) for a, b in pairwise(ends)]


@PROFILE
@given(LENGTHS, OPTIONS, st.sampled_from(["top-left", "bottom-right"]), st.integers(0, 2**20))
def test_packed_batch_is_its_sequences(lengths, options, alignment, seed):
    contract = resolved(Contract(causal_alignment=alignment), FORMATS)
    operands = packed_operands("sharp", FORMATS, SIZES, lengths, seed, options=options)
    whole = problem_of(operands, options, contract)
    upstream = np.random.default_rng(seed).standard_normal(whole.shape)
    truth, gradients = attention_truth(whole), attention_gradients(whole, upstream)
    allowed = budget(contract, FORMATS, whole, truth)
    assert whole.scores[2:] == tuple(np.sum(lengths, axis=0))
    for q, k in spans(lengths):
        parts = (array[:, :, part] for array, part in ((whole.q, q), (whole.k, k), (whole.v, k)))
        alone = Problem(*parts, causal_alignment=alignment, **options)
        exact = attention_truth(alone)
        for one, other in ((exact.out, truth.out), (exact.lse, truth.lse)):
            close(one, other, (slice(None), slice(None), q))
        for one, other in zip(budget(contract, FORMATS, alone, exact), allowed, strict=True):
            cut = np.broadcast_to(other.allowed, truth.out.hi.shape[: other.allowed.ndim])[:, :, q]
            assert np.allclose(cut, one.allowed, rtol=1e-9)
        own = attention_gradients(alone, upstream[:, :, q])
        for name, part in (("q", q), ("k", k), ("v", k)):
            close(getattr(own, name), getattr(gradients, name), (slice(None), slice(None), part))


def close(alone, whole, index):
    """Two truths of the same numbers, each within its radius."""
    radius = alone.radius + whole.radius[index]
    assert np.array_equal(np.isfinite(alone.hi), np.isfinite(whole.hi[index]))
    with np.errstate(invalid="ignore"):
        off = np.abs((alone.hi - whole.hi[index]) + (alone.lo - whole.lo[index]))
    assert (np.where(np.isfinite(alone.hi), off, 0) <= radius).all()


def test_sequences_are_drawn_alone_and_lie_end_to_end():
    lengths = [(2, 3), (0, 4), (5, 0), (1, 1)]
    operands = packed_operands("normal", FORMATS, SIZES, lengths, 5)
    assert operands["cu_seqlens_q"].values.tolist() == [0, 2, 2, 7, 8]
    assert operands["cu_seqlens_k"].values.tolist() == [0, 3, 7, 7, 8]
    assert operands["cu_seqlens_q"].format == "i32"
    assert operands["q"].values.shape == (1, 2, 8, 8)
    assert operands["v"].values.shape == (1, 1, 8, 3)
    first = packed_operands("normal", FORMATS, SIZES, lengths[:1], 5)
    assert np.array_equal(first["k"].codes, operands["k"].codes[:, :, :3])


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        (([0, 2, 4], [0, 3]), "do not cover"),
        (([0, 2, 3], [0, 3, 5]), "do not cover"),
        (([1, 2, 4], [0, 3, 5]), "do not cover"),
        (([0, 5, 4], [0, 3, 5]), "do not cover"),
    ],
)
def test_lengths_must_cover_the_operands(ends, text):
    problem = Problem(np.ones((1, 1, 4, 2)), np.ones((1, 1, 5, 2)), np.ones((1, 1, 5, 2)))
    with pytest.raises(ValueError, match=text):
        packed(problem, *(np.array(one) for one in ends))


def test_packed_batch_has_no_mask():
    mask = np.ones((1, 1, 4, 5), bool)
    problem = Problem(np.ones((1, 1, 4, 2)), np.ones((1, 1, 5, 2)), np.ones((1, 1, 5, 2)), mask=mask)
    ends = [one.values.astype(np.int64) for one in cumulative([(4, 5)]).values()]
    with pytest.raises(ValueError, match="no mask"):
        packed(problem, *ends)
