"""The simulators of accumulators against recorded hardware and rational arithmetic."""

import gzip
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references.accumulators import Accumulator, AccumulatorError
from lastbit.references.chains import add_to_odd, fma64, round_to
from lastbit.references.formats import Format
from lastbit.suites.meta.accumulator_referee import (
    CHAINS,
    DEVICES,
    F32,
    KINDS,
    MODELS,
    Array,
    exact_dot,
    name,
    operands,
    referee,
    rounded,
)

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tensor_core_vectors"
RECORDED = {
    "V100-fp16": ("v100", "f16"),
    "A100-fp16": ("a100", "f16"),
    "A100-bf16": ("a100", "bf16"),
    "A100-tf32": ("a100", "tf32"),
    "H100-fp16": ("h100", "f16"),
    "H100-E4M3": ("h100", "e4m3fn"),
}
#: The addends of this file were not given to the device: its results are those of c = 0.
WITHOUT_ADDEND = "H100-E4M3"

STEPS = settings(max_examples=40, deadline=None, derandomize=True)


def recorded(file: str) -> tuple[Array, Array, Array, Array]:
    """a, b (2500, k), c, d (2500,) of one file, exact values."""
    path = VECTORS / f"{file}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine: recorded GPU results are not part of the project")
    with gzip.open(path, "rt") as lines:
        rows = [line.strip().split(",") for line in lines][1:]
    columns = [np.array([[int(code, 16) for code in row[i].split()] for row in rows], np.uint32) for i in range(4)]
    a, b, c, d = (column.view(np.float32).astype(np.float64) for column in columns)
    return a, b, np.zeros_like(c[:, 0]) if file == WITHOUT_ADDEND else c[:, 0], d[:, 0]


def bits(x: Array) -> Array:
    return x.view(np.int64)


@pytest.mark.parametrize("file", RECORDED)
def test_simulators_reproduce_every_recorded_gpu_result(file):
    a, b, c, d = recorded(file)
    assert len(d) == 2500
    np.testing.assert_array_equal(bits(Accumulator.of(*RECORDED[file]).dot(a, b, c)), bits(d))


@pytest.mark.parametrize("file", RECORDED)
@pytest.mark.parametrize("fault", ["one bit more", "one bit less", "nearest", "half the block"])
def test_recorded_gpu_results_refute_wrong_models(file, fault):
    a, b, c, d = recorded(file)
    model = Accumulator.of(*RECORDED[file])
    wrong = {
        "one bit more": replace(model, fraction_bits=model.fraction_bits + 1),
        "one bit less": replace(model, fraction_bits=model.fraction_bits - 1),
        "nearest": replace(model, rounding="nearest-even"),
        "half the block": replace(model, terms=model.terms // 2),
    }[fault]
    assert (wrong.dot(a, b, c) != d).mean() > 0.01


@pytest.mark.parametrize(("model", "fmt"), MODELS, ids=name)
@settings(STEPS, max_examples=12)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 40), kind=st.sampled_from(KINDS), addend=st.booleans())
def test_dot_equals_rational_arithmetic(model, fmt, seed, k, kind, addend):
    a, b = operands(kind, fmt, 3, k, seed, bits=model.fraction_bits or model.precision)
    out = Format.of("f32" if model.precision >= 14 else "f16" if model.emax == 15 else "bf16")
    c = out.round(np.random.default_rng(seed).standard_normal(3)) if addend else np.zeros(3)
    a, b = np.clip(a, -64, 64), np.clip(b, -64, 64)  # the referee has no overflow
    wanted = [referee(model, *row) for row in zip(a, b, c.tolist(), strict=True)]
    np.testing.assert_array_equal(model.dot(a, b, c), wanted)


@pytest.mark.parametrize(
    "model", [*DEVICES.values(), *CHAINS, *(Accumulator.of(x) for x in ("f64", "exact", "i32"))], ids=name
)
def test_matmul_is_dot_of_every_row_and_column(model):
    rng = np.random.default_rng(3)
    a = np.trunc(rng.standard_normal((2, 5, 19)) * 99) / (1 if model.engine == "integer" else 16)
    b = np.trunc(rng.standard_normal((19, 7)) * 99)
    c = np.trunc(rng.standard_normal((2, 5, 7)) * 9)
    got = model.matmul(a, b, c)
    for index in np.ndindex(2, 5):
        rows = np.broadcast_to(a[index], (7, 19))
        np.testing.assert_array_equal(got[index], model.dot(rows, b.T, c[index]))


def test_matmul_in_chunks_is_matmul_at_once(monkeypatch):
    model = Accumulator.of("a100", "f16")
    a, b = (np.random.default_rng(1).integers(-9, 9, shape) / 7 for shape in ((33, 40), (40, 21)))
    a, b = Format.of("f16").round(a), Format.of("f16").round(b)
    whole = model.matmul(a, b)
    monkeypatch.setattr("lastbit.references.accumulators.CHUNK", 200)
    np.testing.assert_array_equal(model.matmul(a, b), whole)


#: For each fault, one dot product whose result it changes: 1 as the largest term, then payload below the last bit.
def _payload(values: list[float], c: float = 0.0) -> tuple[Array, Array, Array]:
    return np.array([[1.0, *values]]), np.ones((1, len(values) + 1)), np.array([c])


@pytest.mark.parametrize(
    ("changes", "inputs"),
    [
        ({"rounding": "nearest-even"}, _payload([2.0**-24, 2.0**-24, 2.0**-24], c=1.0)),
        ({"fraction_bits": 25}, _payload([2.0**-25] * 4)),
        ({"fraction_bits": 23, "floor": -300}, _payload([2.0**-24] * 4)),
        ({"addend": "last"}, (np.array([[3 * 2.0**-24]]), np.ones((1, 1)), np.ones(1))),
        ({"terms": 4}, _payload([2.0**-24] * 3 + [2.0**-24])),
        ({"alignment": "down"}, _payload([-(2.0**-25)])),
        ({"alignment": "nearest-even", "floor": -300}, _payload([1.5 * 2.0**-24] * 2)),
        ({"floor": -300}, (np.array([[2.0**-80, -(2.0**-80)]]), np.array([[2.0**-69, 2.0**-80]]), np.zeros(1))),
        ({"input_emin": -1022}, (np.array([[2.0**-130, 2.0**-45]]), np.array([[2.0**60, 2.0**-46]]), np.zeros(1))),
        ({"input_precision": 7}, (np.array([[1 + 2.0**-7]]), np.ones((1, 1)), np.zeros(1))),
        ({"emin": -100}, (np.array([[2.0**-62]]), np.array([[2.0**-62]]), np.zeros(1))),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_planted_fault_changes_a_constructed_result(changes, inputs):
    """Each parameter of a fused engine decides a bit: a model that had it wrong would be told apart."""
    model = Accumulator.of("a100", "bf16")
    assert model.dot(*inputs)[0] == referee(model, inputs[0][0], inputs[1][0], float(inputs[2][0]))
    assert model.dot(*inputs)[0] != replace(model, **changes).dot(*inputs)[0]


def test_promotion_and_grouping_change_a_constructed_result():
    fp8 = Accumulator.of("h100", "e4m3fn")
    a, b = np.full((1, 256), 1.0), np.full((1, 256), 2.0**-6)
    a[0, 0] = b[0, 0] = 16.0
    promoted = replace(fp8, promote=128)
    assert fp8.dot(a, b)[0] < promoted.dot(a, b)[0] <= float(exact_dot(a[0], b[0]))
    even_odd = Accumulator.of("mi300", "e4m3fnuz")
    x, y = np.array([[1.0, 2.0**-13]]), np.array([[1.0, -(2.0**-13)]])
    assert even_odd.dot(x, y)[0] != replace(even_odd, interleaved=False, alignment="toward-zero").dot(x, y)[0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), st.integers(-40, 40))
@settings(STEPS, max_examples=300)
def test_fma64_rounds_once(values, shift):
    a, b, c = values
    a, b = (np.ldexp(np.frexp(v)[0], shift) for v in (a, b))
    c = np.ldexp(np.frexp(c)[0], -shift)
    wanted = float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    assert fma64(*(np.array([v]) for v in (a, b, c)))[0] == wanted


def test_double_rounding_is_avoided():
    """1 + 2^-24 is a tie of f32, which a tail below float64's last bit must decide."""
    big, tail = np.array([1 + 2.0**-24]), np.array([2.0**-80])
    assert (big + tail).astype(np.float32)[0] == 1.0
    assert add_to_odd(big, tail).astype(np.float32)[0] == np.float32(1 + 2.0**-23)
    assert F32.dot(np.array([[1.0, 2.0**-24, 2.0**-60]]), np.array([[1.0, 1.0, 2.0**-60]]))[0] == 1.0
    fused = F32.dot(np.array([[1 + 2.0**-12]]), np.array([[1 + 2.0**-12]]), np.array([2.0**-100]))
    assert fused[0] == float(rounded((1 + Fraction(1, 4096)) ** 2 + Fraction(1, 2**100), 24, -126, "nearest-even"))


@given(st.floats(width=64, allow_nan=False), st.sampled_from(["nearest-even", "toward-zero", "down"]))
@settings(STEPS, max_examples=300)
def test_round_to_is_the_rational_rounding(x, how):
    for precision, emin, emax in ((24, -126, 127), (14, -126, 127), (11, -14, 15), (8, -126, 127)):
        with np.errstate(all="ignore"):
            got = round_to(np.array([x]), precision, emin, emax, how)[0]
        if abs(x) < 2.0**emax:
            assert got == float(rounded(Fraction(x), precision, emin, how))
        elif abs(x) >= 2.0 ** (emax + 1):
            assert got == np.copysign(np.inf, x)


@pytest.mark.parametrize("model", [*DEVICES.values(), *CHAINS], ids=name)
def test_special_values_follow_ieee754(model):
    inf, nan = np.inf, np.nan
    a = np.array([[inf, 1.0], [inf, -inf], [nan, 1.0], [0.0, 1.0], [1.0, -inf]])
    b = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [inf, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(model.dot(a, b), [inf, nan, nan, nan, -inf])
    np.testing.assert_array_equal(model.dot(np.ones((2, 3)), np.ones((2, 3)), np.array([inf, nan])), [inf, nan])


def test_overflow_is_infinite_and_blocks_are_wider_than_f32():
    big = 2.0**127
    a, b = np.array([[big, big, -big]]), np.ones((1, 3))
    assert F32.dot(a, b)[0] == np.inf
    assert Accumulator.of("h100", "bf16").dot(a, b)[0] == big
    assert Accumulator.of("h100", "bf16").dot(np.abs(a), b)[0] == np.inf
    assert Accumulator.of("mi300", "bf16").dot(a, 2 * b)[0] != Accumulator.of("h100", "bf16").dot(a, 2 * b)[0]


def test_integers_wrap_as_two_complement():
    model = Accumulator.of("i32")
    assert model.dot(np.array([[2.0**31 - 1, 1.0]]), np.ones((1, 2)))[0] == -(2.0**31)
    assert model.dot(np.array([[65535.0]]), np.array([[65535.0]]))[0] == 65535**2 - 2**32


def test_exact_sums_survive_cancellation():
    a, b = np.array([[1e300, 1.0, -1e300]]), np.array([[1.0, 2.0**-60, 1.0]])
    assert Accumulator.of("exact").dot(a, b)[0] == 2.0**-60
    assert Accumulator.of("f64").dot(a, b)[0] == 0.0


def test_no_terms_leave_the_addend():
    for model in (*DEVICES.values(), *CHAINS):
        np.testing.assert_array_equal(model.matmul(np.zeros((2, 0)), np.zeros((0, 3)), np.full((2, 3), 1.5)), 1.5)
        np.testing.assert_array_equal(model.matmul(np.zeros((0, 4)), np.zeros((4, 3))), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Accumulator.of("h100", "e3m4"), "h100 with e3m4 operands.*a100/bf16"),
        (lambda: Accumulator.of("f8"), "f8.*h100/e4m3fn"),
        (lambda: replace(F32, order="backwards"), "backwards.*pairwise"),
        (lambda: replace(F32, order="lanes"), "width of 1 or more"),
        (lambda: replace(F32, addend="middle"), "middle"),
        (lambda: Accumulator.of("mi300", "f16", carried="f16"), "mi300/f16 carried in .f16. is not known.*ada/e5m2"),
        (lambda: replace(Accumulator.of("mi300", "f16"), order="split", width=2), "cdna3 engine has no order 'split'"),
        (lambda: replace(F32, promote=8), "promotion"),
        (lambda: F32.dot(np.ones((1, 2)), np.ones((1, 3))), r"\(1, 2\) and \(1, 3\)"),
        (lambda: F32.matmul(np.ones((1, 2)), np.ones((1, 3))), r"matmul takes .*\(1, 2\) and \(1, 3\)"),
    ],
)
def test_unknown_accumulators_and_shapes_are_refused_with_a_remedy(make, told):
    with pytest.raises(AccumulatorError, match=told):
        make()
