"""Providers of quantizers: every named scaling is simulated, and each library's own arithmetic is told apart."""

from dataclasses import replace

import pytest

from lastbit.kernel import Kernel
from lastbit.providers import numpy_quantize, simulated_quantize, torch_quantize, torch_quantize_formulas
from lastbit.references.scaling import Scaling
from lastbit.verify import verify

KERNELS = {
    kernel.name: kernel
    for module in (simulated_quantize, numpy_quantize, torch_quantize, torch_quantize_formulas)
    for kernel in module.kernels()
}


def test_every_named_scaling_is_simulated_both_ways() -> None:
    names = {f"simulated/{op}-{name}" for op in ("quantize", "dequantize") for name in Scaling.names()}
    assert names <= KERNELS.keys()
    assert all(kernel.contract.source for kernel in KERNELS.values())


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_kernel_conforms_on_a_case(name: str) -> None:
    case = "exact normal/m17-ntile" if KERNELS[name].op == "quantize" else "exact random_codes/m17-ntile"
    report = verify(replace(KERNELS[name], tier="smoke"), tier="smoke", case=case)
    assert report.passed, [finding.reason for finding in report.findings]


@pytest.mark.parametrize(
    ("name", "arithmetic", "before"),
    [
        ("torch/quantize-per-tensor", "reciprocal", True),
        ("torch/quantize-per-tensor", "reciprocal", False),
        ("torch/quantize-per-channel", "fused", True),
        ("torch/quantize-per-channel", "reciprocal", False),
        ("torch/quantize-decomposed-per-channel", "reciprocal", True),
    ],
)
def test_arithmetic_of_one_quantizer_is_not_that_of_another(name: str, arithmetic: str, before: bool) -> None:
    kernel: Kernel = KERNELS[name]
    other = replace(kernel.scaling, name="another", arithmetic=arithmetic, zero_before_rounding=before)
    report = verify(replace(kernel, scaling=other), tier="smoke")
    assert "ties" in {finding.check for finding in report.findings if finding.outcome.failed}
