"""Which keys a query sees is what the definition says, key by key, under every combination of options."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references.attention_mask import Problem, addends, alibi, alibi_slopes, kept, lengths_mask

PROFILE = settings(deadline=None, derandomize=True, max_examples=150, database=None)
SIZE = st.integers(1, 7)
SIDE = st.integers(-1, 4)


def problem(b=1, hq=2, hkv=1, lq=4, lk=5, **options):
    """A problem whose operands are zero."""
    return Problem(np.zeros((b, hq, lq, 3)), np.zeros((b, hkv, lk, 3)), np.zeros((b, hkv, lk, 2)), **options)


def seen(p, batch, head, i, j):
    """The definition of a kept key, in words of one element."""
    lq, lk = p.scores[2:]
    at = i + (lk - lq if p.causal_alignment == "bottom-right" else 0)
    if p.causal and j > at:
        return False
    if p.window is not None:
        left, right = p.window
        if (left >= 0 and at - j > left) or (right >= 0 and j - at > right):
            return False
    for added in (p.mask, p.bias):
        if added is not None:
            value = np.broadcast_to(added, p.scores)[batch, head, i, j]
            if not value if value.dtype == bool else value == -np.inf:
                return False
    return True


@PROFILE
@given(
    st.tuples(SIZE, SIZE),
    st.booleans(),
    st.sampled_from(["top-left", "bottom-right"]),
    st.none() | st.tuples(SIDE, SIDE),
    st.sampled_from(["none", "keys", "rows", "heads", "additive"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_kept_is_the_definition(lengths, causal, alignment, window, mask, with_bias, seed):
    lq, lk = lengths
    random = np.random.default_rng(seed)
    shapes = {"keys": (1, 1, 1, lk), "rows": (2, 1, lq, lk), "heads": (1, 2, lq, 1), "additive": (lq, lk)}
    given_mask = None if mask == "none" else random.random(shapes[mask]) < 0.6
    if mask == "additive":
        given_mask = np.where(given_mask, 0.5, -np.inf)
    bias = np.where(random.random((1, 2, 1, lk)) < 0.8, 1.0, -np.inf) if with_bias else None
    p = problem(2, lq=lq, lk=lk, causal=causal, causal_alignment=alignment, window=window, mask=given_mask, bias=bias)
    for batch in range(2):
        for head in range(2):
            want = [[seen(p, batch, head, i, j) for j in range(lk)] for i in range(lq)]
            assert kept(p, batch, head, slice(0, lq)).tolist() == want
            assert kept(p, batch, head, slice(lq - 1, lq)).tolist() == want[-1:]


def test_causal_alignments_differ_where_lengths_do():
    square = [
        kept(problem(lk=4, causal=True, causal_alignment=a), 0, 0, slice(0, 4)) for a in ("top-left", "bottom-right")
    ]
    assert np.array_equal(*square)
    assert kept(problem(causal=True, causal_alignment="top-left"), 0, 0, slice(0, 4))[0].tolist() == [1, 0, 0, 0, 0]
    assert kept(problem(causal=True), 0, 0, slice(0, 4))[0].tolist() == [1, 1, 0, 0, 0]
    longer = kept(problem(lq=7, lk=5, causal=True), 0, 0, slice(0, 7))
    assert longer.sum(1).tolist() == [0, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("hq", "hkv"), [(1, 1), (8, 2), (7, 1), (14, 2), (6, 6)])
def test_query_heads_read_consecutive_groups(hq, hkv):
    p = problem(hq=hq, hkv=hkv)
    assert [p.key_head(h) for h in range(hq)] == [h * hkv // hq for h in range(hq)]


def test_addends_broadcast_and_leave_removed_keys_finite():
    bias = np.arange(10.0).reshape(1, 2, 1, 5)
    mask = np.array([0.0, -np.inf, 1.0, -2.0, 0.0])
    found = addends(problem(bias=bias, mask=mask), 0, 1, slice(1, 3))
    assert [x.tolist() for x in found] == [[[5, 6, 7, 8, 9]] * 2, [[0, 0, 1, -2, 0]] * 2]
    assert addends(problem(mask=mask == 0), 0, 1, slice(1, 3)) == []


def test_alibi_falls_with_distance_by_the_head():
    slopes = alibi_slopes(8)
    assert slopes.tolist() == [2.0**-i for i in range(1, 9)]
    bias = alibi(slopes, 2, 4)
    assert bias.shape == (1, 8, 2, 4)
    assert bias[0, 0].tolist() == [[-1.0, -0.5, -0.0, -0.5], [-1.5, -1.0, -0.5, -0.0]]
    assert alibi(slopes, 2, 4, alignment="top-left")[0, 1, 0].tolist() == [0, -0.25, -0.5, -0.75]


def test_lengths_leave_the_tail_out():
    assert lengths_mask(np.array([0, 2, 3]), 3)[:, 0, 0].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hq": 3, "hkv": 2}, "multiple of hkv"),
        ({"mask": np.ones((3, 5), bool)}, r"mask has shape \(3, 5\)"),
        ({"bias": np.ones((1, 3, 1, 1))}, "bias has shape"),
        ({"sinks": np.ones(3)}, "sinks has shape"),
        ({"causal_alignment": "left"}, "causal_alignment is 'left'"),
        ({"masked_row": "one"}, "masked_row is 'one'"),
        ({"softcap": -1.0}, "softcap"),
        ({"scale": np.inf}, "scale = inf"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        problem(**change)
    with pytest.raises(ValueError, match="four dimensions"):
        Problem(np.zeros((2, 3)), np.zeros((1, 1, 2, 3)), np.zeros((1, 1, 2, 3)))
