"""The probes of exponentials and rows: what softmaxes do is recovered, and a change flips its own lines alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_sheet import PROBES
from lastbit.suites.zoo.softmax_variants import VARIANTS

Array = np.ndarray[Any, Any]


def answers(kernel: Kernel) -> dict[str, Any]:
    """The values of all answers in the kernel's first formats."""
    found = PROBES[kernel.op](asker(kernel, kernel.format_sets[0], "cpu"))
    assert all(answer.evidence or answer.indeterminate_reason for answer in found)
    return {answer.property: answer.value for answer in found}


def softmax(
    exp: Callable[[Array], Array] = np.exp, empty: float = np.nan, top: Callable[[Array], Array] = lambda x: x
) -> Callable[[Array], Array]:
    """A softmax in f32 with this exponential, result of empty rows, and maximum."""

    def run(x: Array) -> Array:
        with np.errstate(all="ignore"):
            wide = x.astype(np.float32)
            weights = exp(wide - top(wide.max(axis=-1, keepdims=True))).astype(np.float32)
            out = weights / weights.sum(axis=-1, keepdims=True)
            out = np.where(np.isneginf(wide).all(axis=-1, keepdims=True), np.float32(empty), out)
        return out.astype(x.dtype)

    return run


def probed(run: Callable[[Array], Array], fmt: str = "f32") -> dict[str, Any]:
    formats = {"x": fmt, "out": fmt}
    return answers(Kernel("mine/softmax", "softmax", run, formats, Contract(), framework="numpy"))


def changed(run: Callable[[Array], Array]) -> dict[str, Any]:
    """The lines that differ from those of the plain softmax."""
    first, second = probed(softmax()), probed(run)
    return {name: second[name] for name in first if first[name] != second[name]}


def exact(x: Array) -> Array:
    return np.exp(x.astype(np.float64))


def variant(name: str) -> Kernel:
    return next(one for one in VARIANTS if one.name.startswith(name)).build()


def test_the_plain_softmax():
    found = probed(softmax(exact))
    assert found["exp_error"] == pytest.approx(0.5, abs=0.002)
    wanted = {
        "exp_base": "e",
        "exp_underflow": "gradual",
        "exp_monotone": True,
        "exp_places": "alike",
        "exp_zero": "exact",
        "exp_infinity": "0",
        "masked_row": "NaN",
        "infinite_row": "NaN",
        "nan": "its row",
        "maximum_off": True,
        "repeatable": True,
        "row_invariance": "holds",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_an_error_of_so_many_ulp_is_measured():
    ratio = 1 + 3 * 2.0**-23
    found = probed(softmax(lambda x: exact(x) * np.where(x < 0, ratio, 1.0)))
    assert 2.0 <= found["exp_error"] <= 6.5


def test_base_two_flips_its_lines_alone():
    log2e = np.float32(1.4426950408889634)
    found = changed(softmax(lambda x: np.exp2(x * log2e)))
    assert found.pop("exp_base") == "2, of a rounded product"
    assert found.pop("exp_error") > 30
    assert set(found) <= {"exp_underflow"}


def test_flushing_flips_its_line_alone():
    def flushed(x: Array) -> Array:
        out = np.exp(x)
        return np.where(out < 2.0**-126, np.float32(0), out)

    assert changed(softmax(flushed)) == {"exp_underflow": "flushed"}


def test_an_early_end_is_told_with_its_place():
    found = changed(softmax(lambda x: np.where(x < -80, np.float32(0), np.exp(x))))
    assert str(found.pop("exp_underflow")).startswith("0 from -80")
    assert set(found) <= {"exp_error", "exp_base"}


def test_a_step_back_is_seen():
    def stepping(x: Array) -> Array:
        out = np.exp(x)
        return np.where(np.rint(x / np.log(2)) % 2 == 0, out * np.float32(1 + 2.0**-15), out)

    found = changed(softmax(stepping))
    assert found["exp_monotone"] is False
    assert set(found) <= {"exp_monotone", "exp_error", "exp_base"}


def test_another_exponential_in_the_remainder_is_seen():
    def mixed(x: Array) -> Array:
        out = np.exp(x)
        out[..., 64:] = np.where(x[..., 64:] < 0, out[..., 64:] * np.float32(1 + 2.0**-22), out[..., 64:])
        return out

    found = changed(softmax(mixed))
    assert found["exp_places"] == "differ"
    assert set(found) <= {"exp_places", "exp_error", "exp_monotone"}


def test_zeros_for_masked_rows_flip_their_line_alone():
    assert changed(softmax(empty=0.0)) == {"masked_row": "zero"}


def test_a_maximum_that_stays_flips_its_line():
    assert changed(softmax(top=lambda x: np.zeros_like(x)))["maximum_off"] is False


def test_narrow_results_hide_what_they_hide():
    found = probed(softmax(), "f16")
    assert found["exp_error"] is None
    assert found["exp_base"] is None
    assert found["exp_underflow"] == "gradual"
    assert found["kappa"] == 1


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("softmax-with_exp2-f32", {"exp_base": "2, of a rounded product"}),
        ("softmax-flushes_tails", {"exp_underflow": "flushed"}),
        ("softmax-zeros_masked_rows", {"masked_row": "zero"}),
        ("softmax-batch_variant", {"row_invariance": "breaks at m = 1, 2, 3, 4"}),
        ("logsumexp-wavers", {"repeatable": False}),
        ("softmax-in_f64-f64", {"exp_base": "e", "exp_monotone": True}),
        ("log_softmax-honest", {"exp_zero": "exact", "masked_row": "NaN"}),
        ("logsumexp-honest", {"exp_zero": "exact", "masked_row": "-inf", "infinite_row": "infinity"}),
    ],
)
def test_right_variants_of_the_zoo_are_what_they_say(name, wanted):
    found = answers(variant(name))
    assert {name: found[name] for name in wanted} == wanted


def test_torch_is_within_its_bounds():
    torch = pytest.importorskip("torch")
    formats = {"x": "f32", "out": "f32"}
    found = answers(Kernel("mine/softmax", "softmax", lambda x: torch.softmax(x, -1), formats, Contract()))
    assert found["exp_error"] < 2
    assert found["exp_base"] == "e"
