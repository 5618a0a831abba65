"""The probes of casts: they recover every policy they are given, and one change of it flips its own line alone."""

from collections.abc import Callable
from typing import Any

import ml_dtypes  # noqa: F401
import numpy as np
import pytest

from lastbit import numpy_arrays
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers import simulated_casts
from lastbit.references.formats import Format
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_sheet import PROBES

Run = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
KINDS = {"inf": "infinity", "nan": "NaN", "saturate": "largest"}


def probed(run: Callable[..., Any], x: str, out: str, framework: str = "numpy") -> dict[str, Any]:
    """The values of all answers, None where a probe could not decide."""
    kernel = Kernel("mine/cast", "cast", run, {"x": x, "out": out}, Contract(), framework=framework)
    answers = PROBES["cast"](asker(kernel, {"x": x, "out": out}, "cpu"))
    assert all(answer.evidence or answer.indeterminate_reason for answer in answers)
    return {answer.property: answer.value for answer in answers}


def built(x: str, out: str, **options: Any) -> Run:
    """A cast by the proved rounding."""

    def run(given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        codes = Format.of(out).encode(np.asarray(given).astype(np.float64), **options)
        return codes.view(numpy_arrays.dtype(out))

    return run


def before(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], run: Run) -> Run:
    """`run` of changed numbers."""

    def changed(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with np.errstate(all="ignore"):
            return run(change(np.array(x)).astype(x.dtype))

    return changed


@pytest.mark.parametrize("kernel", simulated_casts.kernels(), ids=lambda kernel: kernel.name)
def test_every_declared_policy_is_recovered(kernel):
    for formats in kernel.format_sets:
        answers = {a.property: a.value for a in PROBES["cast"](asker(kernel, formats, "cpu"))}
        target, contract = Format.of(formats["out"]), kernel.contract
        if target.kind == "table":
            assert answers["cast_rounding"] is None
            continue
        assert answers["cast_rounding"] in (contract.output_rounding, "exact")
        assert answers["cast_table"] == "as the answers say"
        if contract.overflow in KINDS and answers["cast_overflow"] is not None:
            assert answers["cast_overflow"] == KINDS[contract.overflow]
        if contract.nan is not None:
            assert answers["cast_nan"] == {"zero": "0", "max": f"{target.max:g}"}[contract.nan]
        assert answers["cast_threshold"] in ("where the rounding says", None)
        assert answers["cast_steps"] in ("one rounding", None)


SATURATING = {"overflow": "saturate"}
BASE = built("f32", "e4m3fn", **SATURATING)


def changed(run: Run, base: Run = BASE, x: str = "f32", out: str = "e4m3fn") -> dict[str, Any]:
    """The lines that differ between two casts, with the second one's values."""
    first, second = probed(base, x, out), probed(run, x, out)
    return {name: second[name] for name in first if first[name] != second[name]}


@pytest.mark.parametrize("rounding", ["toward-zero", "nearest-away", "down", "up", "to-odd"])
def test_another_rounding_flips_its_line_alone(rounding):
    assert changed(built("f32", "e4m3fn", rounding=rounding, **SATURATING)) == {"cast_rounding": rounding}


def test_a_lost_sign_of_zero_flips_its_line_alone():
    assert changed(before(lambda x: x + np.float32(0), BASE)) == {
        "cast_zero": "-0 lost",
        "cast_table": "not as the answers say",
    }


def test_nan_to_zero_flips_its_line_alone():
    zero, most = (built("f32", "e2m1fn", nan=nan, **SATURATING) for nan in ("zero", "max"))
    assert changed(zero, most, out="e2m1fn") == {"cast_nan": "0"}


def test_infinity_that_stays_flips_its_line_alone():
    kept, saturated = (built("f32", "e5m2", overflow=overflow) for overflow in ("propagate", "saturate"))
    assert changed(kept, saturated, out="e5m2") == {"cast_infinity": "infinity"}


def test_a_threshold_off_by_one_ulp_flips_its_line_and_the_tables():
    base = built("f32", "e5m2", overflow="inf")
    last = np.nextafter(np.float32(61440), np.float32(0))
    run = before(lambda x: np.where(np.abs(x) == last, np.copysign(np.inf, x), x), base)
    found = changed(run, base, out="e5m2")
    assert found == {"cast_threshold": float(last), "cast_table": "not as the answers say"}


@pytest.mark.parametrize(("on_way", "bits"), [("f32", 24), ("f16", 11)])
def test_two_roundings_flip_their_line_alone(on_way, bits):
    base = built("f64", "e4m3fn", **SATURATING)
    middle = Format.of(on_way)
    run = before(lambda x: middle.round(x, overflow="saturate"), base)
    found = changed(run, base, x="f64")
    assert found.pop("cast_steps") == f"two roundings, the first to {bits} bits"
    assert found == {}


def test_flushing_flips_the_line_of_results_alone():
    run = before(lambda x: np.where(np.abs(x) < 2.0**-6, np.copysign(0, x), x), BASE)
    assert changed(run) == {"cast_subnormal_results": "flushed"}


def test_flushed_operands_flip_their_line_alone():
    base = built("f16", "f32")
    run = before(lambda x: np.where(np.abs(x) < 2.0**-14, np.copysign(0, x), x), base)
    assert changed(run, base, "f16", "f32") == {"cast_subnormal_operands": "flushed"}


def test_wrapping_flips_what_is_beyond():
    base = built("i32", "i8", overflow="saturate")
    found = changed(lambda x: x.astype(np.int8), base, "i32", "i8")
    assert found == {"cast_overflow": "wraps", "cast_threshold": "where the rounding says"}


def test_one_wrong_code_is_seen_by_the_table_alone():
    base = built("f16", "e4m3fn", **SATURATING)
    run = before(lambda x: np.where(x == np.float16(1.3), np.float16(1.5), x), base)
    assert changed(run, base, "f16") == {"cast_table": "not as the answers say"}


def test_what_fits_no_rounding_is_indeterminate():
    run = before(lambda x: x * np.float32(1.1), BASE)
    assert probed(run, "f32", "e4m3fn")["cast_rounding"] is None


torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("x", "out", "wanted"),
    [
        ("f32", "float8_e4m3fn", {"cast_overflow": "largest", "cast_infinity": "largest", "cast_nan": "NaN"}),
        ("f32", "float8_e5m2", {"cast_overflow": "infinity", "cast_infinity": "infinity"}),
        ("f32", "float8_e4m3fnuz", {"cast_overflow": "NaN"}),
        ("f64", "bfloat16", {"cast_steps": "two roundings, the first to 24 bits"}),
        ("f64", "float32", {"cast_steps": "one rounding"}),
        ("f32", "float8_e8m0fnu", {"cast_rounding": "nearest-away", "cast_negative": "magnitude"}),
        ("f32", "int8", {"cast_rounding": "toward-zero", "cast_nan": "0"}),
    ],
)
def test_torch_does_what_the_page_on_casts_says(x, out, wanted):
    names = {"float8_e4m3fn": "e4m3fn", "float8_e5m2": "e5m2", "float8_e4m3fnuz": "e4m3fnuz", "bfloat16": "bf16"}
    names |= {"float32": "f32", "float8_e8m0fnu": "e8m0fnu", "int8": "i8"}
    found = probed(lambda x: x.to(getattr(torch, out)), x, names[out], "torch")
    assert {name: found[name] for name in wanted} == wanted
