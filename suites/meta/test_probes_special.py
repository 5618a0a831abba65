"""Probes that need no model: special values, integers, invariance, each on kernels that show both answers."""

from collections.abc import Callable

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.suites.meta.probed_devices import access, devices
from lastbit.suites.probes import integer_probes, invariance_probes, operand_probes, order_probes, special_probes
from lastbit.suites.probes.access import Access, Shape, of_kernel
from lastbit.suites.probes.answer import Value
from lastbit.suites.probes.draws import noise
from lastbit.suites.probes.kernel_sheet import kernel_sheet
from lastbit.suites.probes.repeat_probe import repeatable
from lastbit.suites.probes.sheet import findings, span_of

F32 = {"a": "f32", "b": "f32", "out": "f32"}


def probed(run, formats=F32, shape=(16, 16, 16), **fields) -> Access:
    return of_kernel(kernel(run, formats, **fields), formats, "cpu", Shape(*shape))


def kernel(run, formats=F32, **fields) -> Kernel:
    return Kernel("mine/gemm", "gemm", quiet(run), formats, Contract(), framework="numpy", devices=("cpu",), **fields)


def quiet(run):
    def call(a, b):
        with np.errstate(all="ignore"):
            return run(a, b)

    return call


@pytest.mark.parametrize(
    ("device", "least"),
    [("v100 f16", 3), ("a100 f16", 6), ("h100 f16", 12), ("ada e4m3fn", 3), ("a100 tf32", None), ("h100 tf32", None)],
)
def test_non_monotone_devices_are_found_from_their_least_terms_on(device, least):
    """m = 3, 6 and 12 on V100, A100 and H100; with tf32 operands a block has too few terms (numerics, P17)."""
    model, operands, out = devices()[device]
    answer = findings(access(model, operands, out)).answers["monotone"]
    assert answer.value is (least is None)
    assert least is None or answer.evidence.endswith(f"the smaller gives more from m = {least} on")


def test_chains_are_monotone():
    assert findings(access(Accumulator.of("f32"), "f16", "f32")).answers["monotone"].value is True


def test_nan_that_is_dropped_is_seen():
    answers = [
        special_probes.nan(probed(run), span_of(probed(run)))
        for run in (np.matmul, lambda a, b: np.matmul(np.nan_to_num(a, nan=0.0), b))
    ]
    assert [answer.value for answer in answers] == ["propagated", "not IEEE 754"]


def test_a_zero_that_skips_its_product_is_seen():
    """0 * NaN is NaN: a kernel that leaves out products with zeros loses it."""

    def run(a, b):
        products = np.where((a[:, :, None] == 0) | (b[None] == 0), np.float32(0), a[:, :, None] * b[None])
        return products.sum(axis=1, dtype=np.float32)

    assert special_probes.nan(probed(run), span_of(probed(run))).value == "not IEEE 754"


def test_infinity_that_saturates_is_seen():
    def run(a, b):
        return np.nan_to_num(a @ b, nan=np.nan, posinf=np.finfo(np.float32).max)

    assert special_probes.infinity(probed(run), span_of(probed(run))).value == "other"
    assert special_probes.infinity(probed(np.matmul), span_of(probed(np.matmul))).value == "IEEE 754"


def test_wide_accumulators_save_an_overflow_on_the_way():
    def wide(a, b):
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)

    assert special_probes.overflow(probed(wide), span_of(probed(wide))).value == "saved"
    assert special_probes.overflow(probed(np.matmul), span_of(probed(np.matmul))).value == "infinite"


def test_the_sign_of_zero_sums_is_seen():
    def kept(a, b):
        total = a[:, :1] * b[:1]
        for k in range(1, a.shape[1]):
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    def lost(a, b):
        return kept(a, b) + np.float32(0)

    assert special_probes.zero(probed(kept), span_of(probed(kept))).value == "IEEE 754"
    assert special_probes.zero(probed(lost), span_of(probed(lost))).value == "-0 lost"


@pytest.mark.parametrize("side", ["a", "b"])
def test_subnormals_flushed_of_one_operand_are_seen(side):
    def flush(x):
        return np.where(np.abs(x) < np.float32(2.0**-126), np.float32(0), x)

    def run(a, b):
        return np.matmul(flush(a), b) if side == "a" else np.matmul(a, flush(b))

    other = "b" if side == "a" else "a"
    value = operand_probes.input_subnormals(probed(run), span_of(probed(run))).value
    assert value in (f"flushed of {side}, kept of {other}", f"kept of {other}, flushed of {side}")


@pytest.mark.parametrize(("bits", "rounding"), [(8, "nearest-even"), (11, "toward-zero")])
def test_operands_that_lose_bits_are_seen(bits, rounding):
    from lastbit.references.chains import round_to

    def cut(x):
        return round_to(x.astype(np.float64), bits, -126, 127, rounding).astype(np.float32)

    given = probed(lambda a, b: np.matmul(cut(a), cut(b)))
    read, rounded = operand_probes.input_precision(given, span_of(given))
    assert (read.value, rounded.value) == (bits, rounding)
    assert operand_probes.split_emulation(given, span_of(given)).value == "yes, bits are lost"


def test_three_bf16_parts_without_scaling_are_seen():
    """x1 + x2 + x3 holds 24 bits, but the third part of a number near the smallest ones is none of bf16's."""

    def parts(x):
        found = []
        for _ in range(3):
            high = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
            high = np.where(np.abs(high) < np.float32(2.0**-126), np.float32(0), high)
            found.append(high)
            x = x - high
        return found

    def run(a, b):
        return sum((x @ y for x in parts(a) for y in parts(b)), np.zeros((a.shape[0], b.shape[1]), np.float32))

    given = probed(run)
    assert operand_probes.split_emulation(given, span_of(given)).value == "yes, without scaling"
    assert operand_probes.split_emulation(probed(np.matmul), span_of(given)).value == "no"


@pytest.mark.parametrize("dropped", [(1, 1), (0, 2)])
def test_a_dropped_product_of_parts_is_seen(dropped):
    """Nine products of bf16 parts but one, in f64: what is missing is larger than any rounding."""

    def parts(x):
        found = []
        for _ in range(3):
            high = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
            found.append(high.astype(np.float64))
            x = x - high
        return found

    def run(a, b):
        left, right = parts(a), parts(b)
        kept = [(i, j) for i in range(3) for j in range(3) if (i, j) != dropped]
        return sum((left[i] @ right[j] for i, j in kept), np.zeros((a.shape[0], b.shape[1]))).astype(np.float32)

    given = probed(run)
    assert operand_probes.split_emulation(given, span_of(given)).value == "yes, products of parts are dropped"


INTEGERS = {"a": "u8", "b": "i8", "out": "i32"}


def exact(a, b):
    return a.astype(np.int32) @ b.astype(np.int32)


def saturating(a, b):
    """Pairs of products in 16 bits, as VPMADDUBSW adds them."""
    products = a.astype(np.int32)[:, :, None] * b.astype(np.int32)[None]
    two = np.clip(products[:, 0::2] + products[:, 1::2], -(2**15), 2**15 - 1)
    return two.sum(axis=1, dtype=np.int32)


@pytest.mark.parametrize(("run", "value"), [(exact, "exact"), (saturating, "saturate at 16 bits")])
def test_pairs_of_integers_that_saturate_are_seen(run, value):
    given = probed(run, INTEGERS)
    assert integer_probes.pairs(given).value == value
    assert integer_probes.sums(given).value == ("exact" if run is exact else "not exact")
    made = kernel_sheet(kernel(run, INTEGERS), INTEGERS, "cpu")
    assert {answer.property for answer in made.more} == {"repeatable"}
    assert made.sheet.model is None


def repeated(run: Callable[..., object]) -> Value | None:
    given = probed(run)
    operands = noise(given.shape, F32, 18)
    return repeatable(lambda: given.product(*operands, None), "cpu").value


def test_calls_that_differ_are_seen():
    rng = np.random.default_rng(0)

    def run(a, b):
        order = rng.permutation(a.shape[1])
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in order:
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    def fixed(a, b):
        return np.add.reduce(a[:, :, None] * b[None], axis=1, dtype=np.float32)

    assert repeated(run) is False
    assert repeated(fixed) is True


def test_batches_that_change_bits_are_named_by_their_sizes():
    """Sums in the other direction below four rows: 1, 2 and 3 break."""

    def run(a, b):
        order = range(a.shape[1]) if a.shape[0] >= 4 else range(a.shape[1] - 1, -1, -1)
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in order:
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    def at(shape: Shape) -> Access:
        return of_kernel(kernel(run), F32, "cpu", shape)

    shape = Shape(16, 16, 16)
    assert invariance_probes.batch_invariance(at, shape, "m").value == "breaks at m = 1, 2, 3"
    assert invariance_probes.batch_invariance(at, shape, "n").value == "holds"
    orders, one = order_probes.shape_trees(at, shape)
    assert orders.value == "by shape"
    assert not one
    assert "16x16x16: in sequence; 1x1x16: as (0 + (1 + (2 +" in orders.evidence


def test_orders_that_follow_the_threads_are_drawn():
    """Sums in the other direction on two threads, as long as four rows; the trees of one and two threads are told."""
    torch = pytest.importorskip("torch")

    def run(a, b):
        back = torch.get_num_threads() == 2 and a.shape[0] >= 4
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(a.shape[1])[:: -1 if back else 1]:
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    def at(shape: Shape) -> Access:
        return of_kernel(kernel(run), F32, "cpu", shape)

    threads = torch.get_num_threads()
    found = order_probes.thread_trees(at, Shape(8, 8, 8), limit=2**13)
    assert torch.get_num_threads() == threads
    assert found.value == "by threads"
    assert "8x8x8, 1 threads: in sequence; 8x8x8, 2 threads: as (0 + (1 + (2 +" in found.evidence
    assert "1x8x8" not in found.evidence
    same = order_probes.thread_trees(
        lambda shape: probed(np.matmul, shape=(shape.m, shape.n, shape.k)), Shape(8, 8, 8), 2**13
    )
    assert same.value == "one"


def test_sums_that_are_never_rounded_tell_no_places_apart():
    formats = {"a": "e2m1fn", "b": "e2m1fn", "out": "f32"}
    given = probed(lambda a, b: a.astype(np.float32) @ b.astype(np.float32), formats)
    assert invariance_probes.places(given).indeterminate_reason.startswith("no sum of these formats is rounded")
    answer = invariance_probes.batch_invariance(lambda shape: given, given.shape, "m")
    assert answer.indeterminate_reason.startswith("no sum of these formats is rounded")
