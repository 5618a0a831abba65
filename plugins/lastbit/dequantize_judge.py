"""Judging a dequantizer: one rounding of the exact value, the promised order of roundings, or its derived bound."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastbit.budget import Budget
from lastbit.budget_output import ROUND_UP, overflow_window, round_output
from lastbit.budget_terms import Terms
from lastbit.judge import judge, judge_exact
from lastbit.references.accumulators import Accumulator
from lastbit.references.dequantize import dequantize, truth
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.references.truth import Truth
from lastbit.verdict import Verdict

if TYPE_CHECKING:
    from lastbit.contract import Contract

#: The order of roundings that is promised where the contract names none.
ORDER = "once"
#: Of f32, in which scales are multiplied.
SMALLEST_NORMAL = 2.0**-126


def judge_dequantized(
    codes: NDArray[Any], out: str, quantized: Quantized, scaling: Scaling, contract: "Contract"
) -> Verdict:
    """Whether every number is the one that `contract` (resolved) promises, or within the bound of its order.

    "once": the exact value, rounded once to `out`. "scales_first", "element_first": each step rounded in the format of
    the contract's accumulator, then once more to `out`; one result is right. Each is a product: its zeros have the sign
    of the factors (IEEE 754-2019, 6.3), q - z = 0 being +0, unless the contract flushes. "fused_zero": the
    bound of `budget`, and under a scale that is not finite q * s + (-z * s) of IEEE 754; the sign of a zero is open.
    """
    order = contract.scale_arithmetic or ORDER
    exact, gone = truth(quantized, scaling), np.zeros(np.shape(codes), bool)
    if contract.subnormals == "flush":
        gone = _flushed(codes, out, quantized, scaling)
        exact = _emptied(exact, gone)
    if order == "once":
        return judge_exact(codes, out, exact, contract, signed_zeros=_signed(quantized, scaling))
    if order == "fused_zero":
        exact = _emptied(_of_products(exact, quantized, scaling), gone)
        return judge(codes, out, exact, budget(contract, out, quantized, scaling, exact), contract)
    compute = working(contract)
    values = dequantize(quantized, scaling, out, order=order, compute=compute, overflow=contract.overflow)
    values, none = np.where(gone, 0.0, values), np.zeros(values.shape)
    product = Truth(values, np.copysign(none, values), none, exact.weight, f"{order} in {compute}")
    return judge_exact(codes, out, product, contract, signed_zeros=_signed(quantized, scaling))


def _signed(quantized: Quantized, scaling: Scaling) -> NDArray[np.bool_]:
    """Where a zero has a sign: not under codes of -0 that the scaling does not use, which tables of integers give 0."""
    element = Format.of(scaling.element).decode(quantized.codes)
    signed: NDArray[np.bool_] = (element != 0) | ~np.signbit(element) | scaling.negative_zero
    return signed


def _of_products(exact: Truth, quantized: Quantized, scaling: Scaling) -> Truth:
    """The truth with q * s + (-z * s) where s is infinite: infinite products of unlike signs give NaN."""
    values = dequantize(quantized, scaling, "f32", order="fused_zero")
    return replace(exact, hi=np.where(np.isfinite(exact.hi), exact.hi, values))


def _flushed(codes: NDArray[Any], out: str, quantized: Quantized, scaling: Scaling) -> NDArray[np.bool_]:
    """Where the scale is subnormal in f32, and counts as zero: the result is zero, whatever the zero point."""
    if scaling.scale_format is None or quantized.scale is None:
        return np.zeros(quantized.codes.shape, bool)
    scale = spread(Format.of(scaling.scale_format).decode(quantized.scale), scaling, quantized.codes.shape)
    gone: NDArray[np.bool_] = (np.abs(scale) < SMALLEST_NORMAL) & (Format.of(out).decode(codes) == 0)
    return gone


def _emptied(exact: Truth, gone: NDArray[np.bool_]) -> Truth:
    """The truth with zeros where the scale counts as zero."""
    hi, lo, radius, weight = (np.where(gone, 0.0, part) for part in (exact.hi, exact.lo, exact.radius, exact.weight))
    return replace(exact, hi=hi, lo=lo, radius=radius, weight=weight)


def budget(contract: "Contract", out: str, quantized: Quantized, scaling: Scaling, exact: Truth) -> Budget:
    """The largest errors of q * s + (-z * s), each step rounded or fused with the next: u |q s| + u |z s| + u |result|.

    The products cancel, so this is no bound in ulp of the result. Their roundings are at most u of themselves and half
    an eta below the normal range; that of the sum is at most u of what is summed, |x| + the errors before it.
    Source: numerics 1.15; Higham, Accuracy and Stability (2002), section 2.2.
    """
    fmt, compute = Format.of(out), Accumulator.of(working(contract))
    products = exact.weight * (compute.unit * ROUND_UP) + Format.of(working(contract)).eta
    summed = np.abs(np.nan_to_num(exact.hi)) + products
    terms = Terms(products + compute.unit * summed, exact.weight, None)
    terms.cite("u*(|q s| + |z s|) + u*|x|", "quantize_law.md 5")
    terms.no_statistics("both products share the scale's error")
    slack = terms.error * ROUND_UP
    # An error larger than the range may leave it on the far side, too: there nothing is promised.
    astray = slack - np.abs(np.nan_to_num(exact.hi)) >= min(fmt.max, -fmt.lowest)
    window = overflow_window(exact.weight, slack, astray, compute, fmt, exact)
    allowed, _, before = round_output(terms, slack, contract, compute, fmt, exact)
    return Budget(
        allowed=np.asarray(allowed),
        formula=" + ".join(terms.formulas),
        source="; ".join(terms.sources),
        unstatistical=terms.unstatistical,
        before=before,
        overflow_slack=window,
    )


def working(contract: "Contract") -> str:
    """The format that a dequantizer computes in: the contract's accumulator, f32 unless it is a format of floats."""
    promised = contract.accumulator
    return promised if isinstance(promised, str) and promised in ("f64", "f16", "bf16") else "f32"
