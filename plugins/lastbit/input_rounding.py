"""How operands may be rounded or split before they are multiplied, and the error of that, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rounding:
    """How operands are changed before they are multiplied, and how many products replace one (docs/budgets.md 4)."""

    #: |product - exact product| <= product_error * |a b| for operands in the normal range.
    product_error: float
    #: |rounded a b| <= growth * |a b|.
    growth: float
    #: Products summed for each pair of operands.
    products: int
    #: Format that the operands are rounded to, and its formula.
    format: str
    formula: str


def _once(name: str, u: float, text: str) -> Rounding:
    return Rounding(2 * u + u * u, (1 + u) ** 2, 1, name, f"(2*{text}+{text}^2)*|A||B|")


_PAIR = Rounding(2.0**-15 + 2.0**-33, 1 + 2.0**-6, 3, "bf16", "(2^-15+2^-33)*|A||B|")

#: tf32 by truncation, as tensor cores read f32 operands, the others to nearest; f32 is what scaled codes become.
#: bf16x2 (oneMKL's name: two words an operand) and bf16x3 (XLA's name: three products) are the same algorithm; bf16x6
#: has three words, six products.
INPUT_ROUNDINGS = {
    "tf32": _once("tf32", 2.0**-10, "2^-10"),
    "f32": _once("f32", 2.0**-24, "2^-24"),
    "bf16": _once("bf16", 2.0**-8, "2^-8"),
    "f16": _once("f16", 2.0**-11, "2^-11"),
    "bf16x2": _PAIR,
    "bf16x3": _PAIR,
    "bf16x6": Rounding(2.0**-24 + 2.0**-33, 1 + 2.0**-6, 6, "bf16", "(2^-24+2^-33)*|A||B|"),
}
