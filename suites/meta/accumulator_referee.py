"""Slow models of accumulators in rational arithmetic, written apart from the simulators, and data that strains sums."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor, frexp, inf, trunc

import numpy as np
from numpy.typing import NDArray

from lastbit.references.accumulator_table import ENGINES
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

Array = NDArray[np.float64]

F32 = Accumulator.of("f32")
CHAINS = [
    *(replace(F32, name=f"f32 {order} {width}", order=order, width=width) for order, width in
      (("sequential", 0), ("pairwise", 0), ("blocked", 5), ("lanes", 4), ("split", 3), ("tree-blocks", 4))),
    replace(F32, name="f32 multiply, add", fma=False),
    replace(F32, name="f32 pairwise, multiply, add", order="pairwise", fma=False),
    Accumulator.of("f16"),
    replace(Accumulator.of("f16"), name="f16 sequential", order="sequential"),
    replace(Accumulator.of("bf16"), name="bf16 sequential, multiply, add", order="sequential", fma=False),
    Accumulator.of("bf16"),
    replace(Accumulator.of("bf16"), name="bf16 blocked", order="blocked", width=4),
]  # fmt: skip
#: One device of those that share a row of the table, and every other chain with wide and narrow operands.
DEVICES = {(row, fmt): Accumulator.of(device, fmt) for (device, fmt), row in ENGINES.items()}
MODELS = [(model, fmt) for (_, fmt), model in DEVICES.items()]
MODELS += [
    (Accumulator.of("v100", "f16", carried="f16"), "f16"),
    (Accumulator.of("h100", "f16", carried="f16"), "f16"),
    (replace(Accumulator.of("h100", "e4m3fn"), name="h100/e4m3fn promoted", promote=64), "e4m3fn"),
    (replace(Accumulator.of("a100", "f16"), name="a100/f16 split", order="split", width=3), "f16"),
]
MODELS += [(model, fmt) for model in CHAINS for fmt in (("f32", "f16") if model.precision == 24 else ("f16", "bf16"))]


def name(x: object) -> str:
    """The id of a parameter: an accumulator's name, a number's or a word's text."""
    return str(getattr(x, "name", x))


def exact_dot(a: Array, b: Array, c: float = 0.0) -> Fraction:
    """The exact sum of products and c."""
    return sum((Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)), Fraction(c))


def rounded(x: Fraction, precision: int, emin: int, how: str) -> Fraction:
    """`x` rounded to `precision` bits with gradual underflow; no overflow."""
    if x == 0:
        return x
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    exponent = max(emin, exponent - (abs(x) < Fraction(2) ** exponent))
    quantum = Fraction(2) ** (exponent - precision + 1)
    units = {"nearest-even": round, "toward-zero": trunc, "down": floor}[how](x / quantum)
    return units * quantum


def field(x: float, emin: int) -> int:
    """The exponent that hardware reads: of subnormals the smallest normal's; None-like -10^6 for zero."""
    return max(frexp(x)[1] - 1, emin) if x else -(10**6)


def cut(x: Fraction, top: int, bits: int, how: str) -> Fraction:
    """`x` as a multiple of 2^(top - bits)."""
    quantum = Fraction(2) ** (top - bits)
    return {"toward-zero": trunc, "down": floor, "nearest-even": round}[how](x / quantum) * quantum


def fused_dot(model: Accumulator, a: Array, b: Array, c: float) -> Fraction:
    """MMA-Sim's nv_fused_dot_add over blocks, term by term."""
    carried = Fraction(c)
    for start in range(0, len(a), model.terms):
        pairs = list(zip(a[start : start + model.terms].tolist(), b[start : start + model.terms].tolist(), strict=True))
        terms = [(Fraction(x) * Fraction(y), field(x, model.input_emin) + field(y, model.input_emin)) for x, y in pairs]
        terms.append((carried, field(float(carried), model.emin)))
        top = max(model.floor, *(exponent for _, exponent in terms))
        total = sum((cut(value, top, model.fraction_bits, model.alignment) for value, _ in terms), Fraction(0))
        carried = rounded(total, model.precision, model.emin, model.rounding)
    return carried


def cdna3_dot(model: Accumulator, a: Array, b: Array, c: float) -> Fraction:
    """MMA-Sim's amd_fused_dot_rd_add over blocks, term by term."""
    carried = Fraction(c)
    for start in range(0, len(a), model.terms):
        pairs = list(zip(a[start : start + model.terms].tolist(), b[start : start + model.terms].tolist(), strict=True))
        terms = [(Fraction(x) * Fraction(y), field(x, model.input_emin) + field(y, model.input_emin)) for x, y in pairs]
        groups = [terms[0::2], terms[1::2]] if model.interleaved else [terms]
        sums = []
        for group in groups:
            top = max([model.floor, *(exponent for _, exponent in group)])
            sums.append((sum((cut(value, top, 24, "toward-zero") for value, _ in group), Fraction(0)), top))
        top = max(exponent for _, exponent in sums)
        total = (
            sum((cut(value, top, 24, "down") for value, _ in sums), Fraction(0)) if model.interleaved else sums[0][0]
        )
        power = field(float(carried), model.emin)
        both = max(top, power)
        addend = cut(carried, both, 24, "down") if not model.interleaved or power >= both - 25 else Fraction(0)
        carried = rounded(cut(total, both, 31, "down") + addend, model.precision, model.emin, model.rounding)
    return carried


def chain_dot(model: Accumulator, a: Array, b: Array, c: float) -> Fraction:
    """One rounding an operation, in the model's order, by recursion on lists of products."""

    def step(x: Fraction) -> Fraction:
        y = rounded(x, model.precision, model.emin, "nearest-even")
        return Fraction(0) if model.flush and abs(y) < Fraction(2) ** model.emin else y

    def sequence(products: list[Fraction], start: Fraction) -> Fraction:
        for product in products:
            start = step(start + (product if model.fma else step(product)))
        return start

    def neighbours(sums: list[Fraction]) -> Fraction:
        """Adds neighbours until one is left; an odd one out moves up as it is."""
        while len(sums) > 1:
            pairs = [step(x + y) for x, y in zip(sums[0::2], sums[1::2], strict=False)]
            sums = pairs + ([sums[-1]] if len(sums) % 2 else [])
        return sums[0]

    def halves(products: list[Fraction]) -> Fraction:
        if len(products) == 1:
            return step(products[0])
        return step(halves(products[: len(products) // 2]) + halves(products[len(products) // 2 :]))

    products = [Fraction(x) * Fraction(y) for x, y in zip(model.read(a).tolist(), model.read(b).tolist(), strict=True)]
    n, zero = len(products), Fraction(0)
    if model.order in ("any", "sequential"):
        return sequence(products, Fraction(c))
    if model.order == "tree-blocks":
        total = Fraction(c)
        for i in range(0, n, model.width):
            total = step(total + halves(products[i : i + model.width]))
        return total
    if model.order == "pairwise":
        total = neighbours([step(product) for product in products])
    elif model.order == "lanes":
        total = neighbours([sequence(products[i :: model.width], zero) for i in range(min(n, model.width))])
    else:
        width = model.width if model.order == "blocked" else ceil(n / model.width)
        total, *rest = [sequence(products[i : i + width], zero) for i in range(0, n, width)]
        for part in rest:
            total = step(total + part)
    return step(total + Fraction(c))


def referee(model: Accumulator, a: Array, b: Array, c: float = 0.0) -> float:
    """What `model` makes of one dot product, in rational arithmetic; overflow is not modelled."""
    length = ceil(len(a) / model.width) if model.order == "split" else model.promote
    if model.engine == "fused" and length:
        for start in range(0, len(a), length):
            part = fused_dot(model, a[start : start + length], b[start : start + length], 0.0)
            c = float(rounded(part + Fraction(c), 24, -126, "nearest-even"))
        return c
    rule = {"fused": fused_dot, "cdna3": cdna3_dot, "chain": chain_dot}[model.engine]
    return float(rule(model, a, b, c))


#: Recipes of `operands`: each is a way in which sums go wrong.
KINDS = ("normal", "positive", "wide", "cancel", "subnormal", "truncation", "ties", "tiny")


def operands(kind: str, fmt: str, n: int, k: int, seed: int, bits: int = 24) -> tuple[Array, Array]:
    """a, b (n, k) of format `fmt`; `bits` aims the rows of "truncation" and "ties" at an accumulator's last bit."""
    rng = np.random.default_rng(seed)
    form = Format.of(fmt)
    a, b = rng.standard_normal((2, n, k))
    if kind == "positive":
        a, b = rng.random((2, n, k))
    elif kind == "wide":
        span = min(form.emax // 2, -form.emin // 2, 40)
        a, b = np.ldexp(a, rng.integers(-span, span, (n, k))), np.ldexp(b, rng.integers(-span, span, (n, k)))
    elif kind == "cancel":
        half = k // 2
        a[:, half : 2 * half], b[:, half : 2 * half] = -a[:, :half], b[:, :half] * (1 + 2.0 ** (1 - form.precision))
    elif kind == "subnormal":
        a = a * 2.0 ** (form.emin - 1)
    elif kind == "tiny":
        a, b = a * 2.0 ** max(form.emin, -76), b * 2.0 ** max(form.emin, -76)
    elif kind in ("truncation", "ties"):
        shift = 8 if form.emin > -8 else 0  # keeps the payload normal in e4m3
        low = shift - bits - (kind == "truncation")
        high = 2 - 2.0 ** (1 - form.precision) if kind == "truncation" else 1.0
        a, b = np.full((n, k), high * 2.0 ** (low // 2)), np.full((n, k), 2.0 ** (low - low // 2))
        a[:, 0], b[:, 0] = 2.0 ** (shift // 2), 2.0 ** (shift // 2)
        signs = np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
        a = a * signs
    return form.round(a, overflow="saturate") + 0.0, form.round(b, overflow="saturate") + 0.0


def largest_ratio(errors: Array, allowed: Array) -> float:
    """max of error / allowed, where 0 / 0 is 0."""
    return max(
        (e / w if w else (inf if e else 0.0) for e, w in zip(errors.tolist(), allowed.tolist(), strict=True)), default=0
    )
