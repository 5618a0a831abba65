"""Dequantizers that are wrong about some scales, or on some paths, are caught by name under every seed; others pass."""

from typing import Any

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.zoo import dequantize_path_faults, dequantize_scale_value_faults
from lastbit.suites.zoo.dequantize_parts import BF16, E2M1_VALUES, as_double, each, i8_row, nibbles, once
from lastbit.suites.zoo.quantize_kernels import kernel
from lastbit.suites.zoo.quantize_parts import F32, Array, Step, codes_of, f32
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*dequantize_scale_value_faults.FAULTY, *dequantize_path_faults.FAULTY)
SEEDS = 3


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    for seed in range(SEEDS):
        report = verify(fault.build(), tier="smoke", seed=seed)
        failing = {finding.check for finding in report.findings if finding.outcome.failed}
        assert failing & fault.checks, f"seed {seed}: caught only by {sorted(failing)}"
        assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}


def by_exponent(codes: Array, scale: Array) -> Array:
    """Powers of two added to the exponents."""
    exponents = codes_of(scale).astype(np.int64)
    values = np.ldexp(f32(codes), each(exponents - 127, 32, codes.shape[-1]))
    return np.where(each(exponents, 32, codes.shape[-1]) == 255, F32(np.nan), values)


def by_columns(codes: Array, scale: Array) -> Array:
    """One column after the other, each product rounded to f32 and then to f16."""
    found = np.zeros(codes.shape, np.float16)
    for column in range(codes.shape[-1]):
        found[..., column] = f32(codes[..., column]) * scale[..., 0]
    return found


def by_pairs(codes: Array, scale: Array) -> Array:
    """Two values at once from a table of all bytes."""
    table = E2M1_VALUES[nibbles(np.arange(256, dtype=np.uint8)[:, None])]
    values = table[codes].reshape(*codes.shape[:-1], codes.shape[-1] * 2)
    return once(values * each(as_double(scale), 32, values.shape[-1]), BF16)


def flushing(codes: Array, scale: Array) -> Array:
    """Subnormal scales and products are +0 and count as +0."""
    scale = np.where(np.abs(scale) < 2.0**-126, F32(0), scale)
    found = f32(codes) * scale
    return np.where(np.abs(found) < 2.0**-126, F32(0), found)


FLUSH = Contract(subnormals="flush")
RIGHT: tuple[tuple[str, Step, Any, str, Contract | None], ...] = (
    ("q4_0", dequantize_scale_value_faults.q4_0, "gguf_q4_0", "f32", None),
    ("exponents", by_exponent, "mxfp8_e4m3", "f32", None),
    ("columns", by_columns, "i8_row", "f16", Contract(scale_arithmetic="element_first")),
    ("pairs", by_pairs, "mxfp4", "bf16", None),
    ("flushing", flushing, "i8_row", "f32", FLUSH),
    ("not_flushing", lambda codes, scale: i8_row(codes, scale, out=F32), "i8_row", "f32", FLUSH),
)


@pytest.mark.parametrize("case", RIGHT, ids=[case[0] for case in RIGHT])
def test_right_dequantizer_is_not_flagged(case: tuple[str, Step, Any, str, Contract | None]) -> None:
    name, run, scaling, out, contract = case
    right: Kernel = kernel(name, run, scaling, out, contract, op="dequantize")
    for seed in range(SEEDS):
        report = verify(right, tier="smoke", seed=seed)
        assert [finding for finding in report.findings if finding.outcome.failed] == []
        assert report.passed
