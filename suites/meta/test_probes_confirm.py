"""Model confirmation: equality alone confirms, and what a wrong model gets is the sum that refutes it."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.suites.meta.probed_devices import access
from lastbit.suites.probes import confirm, trees
from lastbit.suites.probes.access import AccessError, Shape, of_kernel, simulated
from lastbit.suites.probes.model import Model
from lastbit.suites.probes.sheet import findings, sheet, span_of

F32 = {"a": "f32", "b": "f32", "out": "f32"}


def kernel(run, formats=F32, **fields) -> Kernel:
    return Kernel("mine/gemm", "gemm", run, formats, Contract(), framework="numpy", devices=("cpu",), **fields)


@pytest.mark.parametrize(
    ("device", "fmt", "changes"),
    [
        ("h100", "f16", {"fraction_bits": 24}),
        ("h100", "f16", {"fraction_bits": 26}),
        ("h100", "f16", {"rounding": "nearest-even"}),
        ("h100", "f16", {"terms": 8}),
        ("h100", "f16", {"addend": "last"}),
        ("h100", "f16", {"alignment": "nearest-even"}),
        ("h100", "e4m3fn", {"precision": 24}),
        ("a100", "bf16", {"flush": True}),
        ("v100", "f16", {"precision": 23}),
        ("mi300", "e4m3fnuz", {"interleaved": False}),
    ],
    ids=lambda value: "-".join(f"{k}{v}" for k, v in value.items()) if isinstance(value, dict) else value,
)
def test_wrong_models_are_refuted_with_a_counterexample(device, fmt, changes):
    right = Accumulator.of(device, fmt)
    device_access = access(right, fmt, "f32")
    span = span_of(device_access)
    made = confirm.confirm(device_access, Model(replace(right, **changes), span.out), span)
    assert not made.confirmed
    assert made.differing > 0
    assert "the kernel gives" in made.counterexample
    assert confirm.confirm(device_access, Model(right, span.out), span).confirmed


def test_the_counterexample_can_be_computed_again():
    right, wrong = Accumulator.of("h100", "f16"), replace(Accumulator.of("h100", "f16"), fraction_bits=24)
    device_access = access(right, "f16", "f32")
    span = span_of(device_access)
    made = confirm.confirm(device_access, Model(wrong, span.out), span)
    family, place = made.counterexample.split(" ", 1)
    i, j = (int(part) for part in place[1 : place.index(")")].split(", "))
    batch = next(one for one in confirm.batches(device_access, span) if one.family == family)
    c = None if batch.c is None else batch.c[i : i + 1, j]
    values = [model.dot(batch.a[i : i + 1], batch.b[:, j : j + 1].T, c)[0] for model in (right, wrong)]
    assert f"the kernel gives {float(values[0]).hex()}, the model {float(values[1]).hex()}" in made.counterexample


def test_neighbours_are_told_apart_or_named():
    made = sheet(access(Accumulator.of("h100", "f16"), "f16", "f32")).confirmation
    assert set(made.refuted) == {
        "flush",
        "rounding nearest-even",
        "F 24",
        "F 26",
        "g 8",
        "g 32",
        "alignment nearest-even",
    }
    assert made.alike == ()
    made = sheet(access(replace(Accumulator.of("f32"), order="sequential"), "f16", "f32")).confirmation
    assert made.alike == ("fma",)  # products of f16 are exact in f32, whether their sum is fused or not


def test_narrow_formats_tell_fraction_bits_apart():
    """Products of e4m3fn span 2^28, and F = 24, 25 and 26 differ in the last of these alone."""
    made = sheet(access(Accumulator.of("b200", "e4m3fn"), "e4m3fn", "f32")).confirmation
    assert {"F 24", "F 26", "alignment nearest-even"} <= set(made.refuted)
    made = sheet(access(Accumulator.of("h100", "f16", carried="f16"), "f16", "f16")).confirmation
    assert {"F 24", "F 26", "alignment nearest-even"} <= set(made.refuted)


def test_a_tree_without_a_name_is_confirmed():
    """Even and odd terms swapped in pairs, as VDPBF16PS adds them: no order has this tree, and the model follows it."""
    f32 = replace(Accumulator.of("f32"), order="sequential")
    swapped = np.arange(64).reshape(32, 2)[:, ::-1].reshape(-1)
    real = simulated(f32, {"a": "bf16", "b": "bf16", "out": "f32"}, Shape(32, 32, 64))
    swapping = replace(
        real,
        dots=lambda a, b, c: real.dots(a[:, swapped], b[:, swapped], c),
        product=lambda a, b, c: real.product(a[:, swapped], b[swapped], c),
    )
    made = sheet(swapping)
    assert made.tree is not None
    assert trees.orders(made.tree) == []
    assert made.model is not None
    assert made.model.tree is not None
    assert trees.leaves(made.model.tree).count(64) == 1, "the addend is a leaf"
    assert made.confirmation.confirmed


def test_a_kernel_that_adds_in_f64_is_not_called_f32():
    made = sheet(
        of_kernel(
            kernel(lambda a, b: np.matmul(a, b, dtype=np.float64).astype(np.float32)), F32, "cpu", Shape(32, 32, 32)
        )
    )
    assert made.answer("fraction_bits").value == 52
    assert made.answer("precision").value == 53
    assert made.answer("output_rounding").value == "nearest-even"


def test_a_kernel_that_rounds_twice_is_not_confirmed():
    """Each sum in f32 and then in f16, as numpy.einsum adds f16: its answers are f16's, its bits no f16 chain's."""

    def run(a, b):
        total = np.zeros((a.shape[0], b.shape[1]), np.float16)
        for x, y in zip(a.T.astype(np.float32), b.astype(np.float32), strict=True):
            total = (total.astype(np.float32) + x[:, None] * y[None, :]).astype(np.float16)
        return total

    formats = dict.fromkeys(("a", "b", "out"), "f16")
    made = sheet(of_kernel(kernel(run, formats), formats, "cpu", Shape(32, 32, 32)))
    assert made.answer("precision").value == 11
    assert not made.confirmation.confirmed
    assert made.confirmation.differing > 0


def test_an_f32_chain_that_rounds_twice_is_not_confirmed():
    """Each addition in f64 and then in f32: half a unit and a trace of 2^-46 of it is half a unit in f64."""

    def run(a, b):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for x, y in zip(a.T.astype(np.float64), b.astype(np.float64), strict=True):
            total = (total + x[:, None] * y[None, :]).astype(np.float32)
        return total

    made = sheet(of_kernel(kernel(run), F32, "cpu", Shape(32, 32, 32)))
    assert made.answer("precision").value == 24
    assert made.answer("fma").value is True
    assert not made.confirmation.confirmed
    assert made.confirmation.counterexample.startswith("near ties")


def test_a_kernel_without_a_tree_has_no_model():
    """One that sorts its terms by magnitude first adds in an order that depends on the data."""

    def run(a, b):
        products = a.astype(np.float64)[:, None, :] * b.T.astype(np.float64)[None, :, :]
        order = np.argsort(-np.abs(products), axis=-1, kind="stable")
        total = np.zeros(products.shape[:2], np.float32)
        for term in np.moveaxis(np.take_along_axis(products, order, -1), -1, 0):
            total = (total + term.astype(np.float32)).astype(np.float32)
        return total

    found = findings(of_kernel(kernel(run), F32, "cpu", Shape(16, 16, 16)))
    assert found.model is None or found.answers["tree"].value is None or found.answers["tree"].value == "exact"


def test_a_kernel_that_fails_is_named():
    def run(a, b):
        raise ValueError("no such shape")

    with pytest.raises(AccessError, match="mine/gemm at 8x8x8: crashed: raised ValueError: no such shape"):
        of_kernel(kernel(run), F32, "cpu", Shape(8, 8, 8))


def test_places_that_add_in_another_way_are_left_out():
    """The last two columns are added in the other direction: the model is that of the others, and says so."""

    def run(a, b):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        other = total.copy()
        for k in range(a.shape[1]):
            total = total + a[:, k, None] * b[None, k]
            other = other + a[:, -1 - k, None] * b[None, -1 - k]
        total[:, -2:] = other[:, -2:]
        return total

    given = of_kernel(kernel(run), F32, "cpu", Shape(16, 16, 16))
    assert not given.alike[:, -2:].any()
    assert given.alike[:, :-2].all()
    assert sheet(given).confirmation.confirmed
