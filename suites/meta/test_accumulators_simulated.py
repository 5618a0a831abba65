"""The simulated devices as kernels: their results, their contracts, and that the law tells them apart."""

from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from lastbit.providers.simulated import Simulated, kernels
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.suites.meta.accumulator_referee import referee

KERNELS = {kernel.name.removeprefix("simulated/"): kernel for kernel in kernels()}
TYPES = {
    "f64": np.float64,
    "f32": np.float32,
    "tf32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2": ml_dtypes.float8_e5m2,
    "i8": np.int8,
    "i32": np.int32,
}


def arrays(fmt, *shapes):
    rng = np.random.default_rng(5)
    if fmt == "i8":
        return [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
    return [Format.of(fmt).round(rng.standard_normal(shape)).astype(TYPES[fmt]) for shape in shapes]


@pytest.mark.parametrize("name", KERNELS)
def test_simulated_kernel_is_its_accumulator_rounded_once(name):
    kernel = KERNELS[name]
    formats = kernel.format_sets[0]
    a, b = arrays(formats["a"], (3, 5, 37), (37, 6))
    got = kernel.run(a, b)
    sums = kernel.contract.accumulator.matmul(a.astype(np.float64), b.astype(np.float64))
    wanted = sums if formats["out"] == "i32" else Format.of(formats["out"]).round(sums)
    assert got.dtype == TYPES[formats["out"]]
    np.testing.assert_array_equal(got.astype(np.float64), wanted)


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if "alpha" in kernel.features])
def test_simulated_epilogue_rounds_to_f32_each_time(name):
    kernel = KERNELS[name]
    formats = kernel.format_sets[0]
    a, b, c = arrays(formats["a"], (4, 19), (19, 3), (4, 3))
    c = c.astype(TYPES[formats["out"]])
    f32, out = Format.of("f32"), Format.of(formats["out"])
    sums = kernel.contract.accumulator.matmul(a.astype(np.float64), b.astype(np.float64))
    wanted = out.round(f32.round(f32.round(0.75 * sums) + f32.round(-1.25 * c.astype(np.float64))))
    np.testing.assert_array_equal(kernel.run(a, b, c=c, alpha=0.75, beta=-1.25).astype(np.float64), wanted)
    np.testing.assert_array_equal(kernel.run(a, b, c=c, beta=0.0), kernel.run(a, b))


def test_simulated_alpha_of_53_bits_is_rounded_once():
    """alpha * sum lies just above a tie of f32, on which its float64 product falls."""
    tie = 1 + Fraction(1, 2**24)
    total, alpha = next(
        (n, alpha)
        for n in range(3, 99, 2)
        for alpha in (float(tie / n), np.nextafter(float(tie / n), 1.0))
        if n * Fraction(float(alpha)) > tie and n * float(alpha) == float(tie)
    )
    got = Simulated(Accumulator.of("f32"), "f32")(np.full((1, 1), total, "f4"), np.ones((1, 1), "f4"), alpha=alpha)
    assert np.float32(total * alpha) == 1.0
    assert got[0, 0] == np.float32(1 + 2.0**-23)


def test_simulated_kernels_differ_from_one_another():
    """On one pair of f16 matrices no two devices agree: each name stands for another arithmetic."""
    a, b = arrays("f16", (40, 300), (300, 40))
    f16 = [name for name, kernel in KERNELS.items() if kernel.format_sets[0] == {"a": "f16", "b": "f16", "out": "f32"}]
    results = [KERNELS[name].run(a, b) for name in f16]
    assert len(f16) >= 6
    for i, one in enumerate(results):
        for j in range(i):
            same = (one == results[j]).mean()
            # MI100 and MI250 add alike, but for subnormal operands.
            assert same < (1.0 if {f16[i], f16[j]} == {"cdna1", "cdna2"} else 0.9), (f16[i], f16[j])


@pytest.mark.parametrize("name", KERNELS)
def test_simulated_contracts_say_what_is_simulated(name):
    kernel = KERNELS[name]
    accumulator = kernel.contract.accumulator
    assert kernel.run == Simulated(accumulator, kernel.format_sets[0]["out"])
    assert kernel.contract.source
    assert (kernel.contract.subnormals == "flush") == accumulator.flush
    assert kernel.contract.batch_invariant
    assert kernel.framework == "numpy"


def test_simulated_rows_do_not_depend_on_the_batch():
    for kernel in KERNELS.values():
        a, b = arrays(kernel.format_sets[0]["a"], (9, 70), (70, 4))
        np.testing.assert_array_equal(kernel.run(a, b)[3:4], kernel.run(a[3:4], b))


def test_simulated_dot_is_the_referee_also_through_the_kernel():
    a, b = arrays("e4m3fn", (1, 96), (96, 1))
    model = Accumulator.of("h100", "e4m3fn")
    got = KERNELS["h100-fp8"].run(a, b)[0, 0]
    assert got == referee(model, a[0].astype(np.float64), b[:, 0].astype(np.float64))
    wider = replace(model, precision=24, fraction_bits=25)
    assert got != Simulated(wider, "f32")(a, b)[0, 0]
