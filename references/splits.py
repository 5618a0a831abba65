"""What a kernel does to its operands before it multiplies them, as a relative error of sum |a_i b_i|."""

from dataclasses import dataclass

#: Largest relative error of rounding to bf16 and f16 (nearest) and to tf32 (hardware may truncate).
BF16, F16, TF32 = 2.0**-8, 2.0**-11, 2.0**-10


@dataclass(frozen=True, slots=True)
class Split:
    """How operands are replaced by narrower ones, and what that costs."""

    #: |sum of replaced products - sum a_i b_i| <= coefficient * sum |a_i b_i|, for operands whose parts are normal.
    coefficient: float
    #: Narrow products that stand for one product: terms that the accumulator adds.
    products: int
    #: The narrow products' magnitudes sum to at most this times sum |a_i b_i|.
    growth: float
    #: Largest absolute error of an operand whose lowest part underflows; adds underflow * (sum |a_i| + sum |b_i|).
    underflow: float
    #: Largest finite magnitude of a part: an operand beyond it becomes infinite or saturates.
    max: float
    why: str


def _rounded(u: float, underflow: float, largest: float, why: str) -> Split:
    return Split(2 * u + u * u, 1, (1 + u) ** 2, underflow, largest, why)


F32_MAX = (2 - 2.0**-23) * 2.0**127
BF16_MAX = (2 - 2.0**-7) * 2.0**127
F16_MAX = 65504.0
#: Half the smallest subnormal of bf16, f16 and tf32 (whole under truncation); an operand's last part errs by no more.
BF16_TINY, F16_TINY, TF32_TINY = 2.0**-134, 2.0**-25, 2.0**-136

#: With v = u/(1+u) the largest relative error of one rounding to bf16, the parts obey |x2| <= u|x|, |x3| <= u^2|x| and
#: the remainder of s parts is at most v^s |x|; three parts hold every normal f32.
SPLITS = {
    "tf32": _rounded(TF32, TF32_TINY, F32_MAX, "11 bits, to nearest or truncated: u = 2^-10"),
    "tf32-nearest": _rounded(TF32 / 2, TF32_TINY, F32_MAX, "11 bits, to nearest: u = 2^-11"),
    "bf16": _rounded(BF16, BF16_TINY, BF16_MAX, "8 bits, to nearest"),
    "f16": _rounded(F16, F16_TINY, F16_MAX, "11 bits, to nearest"),
    "bf16x2": Split(
        2 * BF16**2 + BF16**4, 4, (1 + BF16) ** 4, BF16_TINY, BF16_MAX, "two parts an operand, all four products"
    ),
    "bf16x3": Split(3 * BF16**2, 3, (1 + BF16) ** 4, BF16_TINY, BF16_MAX, "two parts an operand without x2*y2"),
    "bf16x6": Split(
        2 * BF16**3 + BF16**4, 6, (1 + BF16) ** 4, BF16_TINY, BF16_MAX, "three parts an operand, x_i*y_j with i+j <= 4"
    ),
}


def split(input_rounding: str | None) -> Split:
    """The Split of a contract's `input_rounding`; None reads operands as they are.

    Source: numerics 1.6; Fasi, Higham, Lopez, Mary, Mikaitis, SISC 45 (2023); tf32: PTX ISA, cvt.rna.tf32 and MMA-Sim.
    Raises ValueError for an unknown name.
    """
    if input_rounding is None:
        return Split(0.0, 1, 1.0, 0.0, float("inf"), "operands are multiplied as they are")
    if input_rounding not in SPLITS:
        raise ValueError(f"input_rounding is {input_rounding!r}, expected None or one of {', '.join(SPLITS)}")
    return SPLITS[input_rounding]


def split_error(input_rounding: str | None) -> float:
    """Relative coefficient of sum |a_i b_i| that replacing the operands costs; 0 for None."""
    return split(input_rounding).coefficient
