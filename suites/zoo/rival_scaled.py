"""The data that casts, quantizers, dequantizers and scaled products are tested with elsewhere."""

from dataclasses import replace

import numpy as np

from lastbit.kernel import Kernel
from lastbit.references import quantize
from lastbit.references.data import Operand
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm_data import problem, scaled
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import product_scalings, scaling_of
from lastbit.scaled_storage import held, held_scale, read
from lastbit.suites.zoo.rival_data import Array, Codes, Draw, Fill, Question, Rng, question

#: Rows and columns of what is converted.
M, N = 64, 128


def cast(fill: Fill, m: int = M, n: int = N) -> Draw:
    """Numbers to convert; none for random rounding, which values cannot be compared of, and for formats of scales."""

    def draw(rng: Rng, kernel: Kernel) -> Question | None:
        formats = kernel.format_sets[0]
        if kernel.contract.output_rounding == "stochastic" or Format.of(formats["out"]).kind == "exponent":
            return None
        x = Operand.of(
            np.abs(fill(rng, (m, n))) if Format.of(formats["out"]).kind == "exponent" else fill(rng, (m, n)),
            formats["x"],
        )
        return question({"x": x}, x.values, np.abs(x.values), 1, formats["out"])

    return draw


def quantized(fill: Fill, m: int = M, n: int = N, *, codes: bool = True, rules: tuple[str, ...] = ()) -> Draw:
    """Numbers to quantize, compared as what the codes are worth: with the right codes' worth, with x where not `codes`.

    None for random rounding, and for rules of scales that are none of `rules`, where any are named.
    """

    def draw(rng: Rng, kernel: Kernel) -> Question | None:
        chosen = _declared(kernel)
        if chosen.rounding == "stochastic" or (rules and chosen.rule not in rules):
            return None
        x = Operand.of(fill(rng, (m, n)), kernel.format_sets[0]["x"])
        operands, right = {"x": x}, _quantized(x, chosen)
        if chosen.rule == "given":
            for name in ("scale", "zero_point", "global_scale"):
                part = getattr(right, name)
                if part is not None:
                    fmt = getattr(chosen, {"scale": "scale_format"}.get(name, name))
                    operands[name] = held_scale(Operand(fmt, part, Format.of(fmt).decode(part)))

        def worth(obtained: list[Codes]) -> Array | None:
            arrays = [*obtained, *(operands[name].codes for name in operands if name != "x")]
            found, _ = read(arrays, chosen, x.codes.shape)
            return None if found is None else truth(found, chosen).hi

        one = question({**operands}, x.values, np.abs(x.values), 1, "f64")
        expected = truth(right, chosen).hi if codes else x.values
        return replace(one, expected=expected, plain=expected, format=chosen.element, name="codes", worth=worth)

    return draw


def dequantized(fill: Fill, m: int = M, n: int = N, *, elements: tuple[str, ...] = ()) -> Draw:
    """The codes and scales of such numbers, to dequantize; none for other elements, where any are named."""

    def draw(rng: Rng, kernel: Kernel) -> Question | None:
        chosen, out = _declared(kernel), kernel.format_sets[0]["out"]
        if elements and chosen.element not in elements:
            return None
        right = _quantized(Operand.of(fill(rng, (m, n)), "f32"), chosen)
        exact = truth(right, chosen).hi
        return question(held(right, chosen), exact, np.abs(exact), 1, out)

    return draw


def scaled_gemm(m: int = 64, n: int = 64, k: int = 256, *, names: tuple[str, ...] = ()) -> Draw:
    """Codes of N(0, 1) with random scales; none for scalings of other names, where beginnings of names are given."""

    def draw(rng: Rng, kernel: Kernel) -> Question | None:
        formats, sizes = kernel.format_sets[0], {"m": m, "n": n, "k": k}
        a, b = product_scalings(kernel)
        wanted = all(one is not None and one.name.startswith(names) for one in (a, b))
        if names and not (wanted and formats["out"] == "f32"):
            return None
        operands = scaled("normal", formats, (a, b), sizes, int(rng.integers(1 << 31)))
        posed = problem(operands, (formats["a"], formats["b"]), (a, b), k)
        left, right = posed.a.values * posed.global_scale, posed.b.values.T
        return question(operands, left @ right, np.abs(left) @ np.abs(right), k, formats["out"])

    return draw


def _declared(kernel: Kernel) -> Scaling:
    """The kernel's scaling; where it declares no arithmetic, that of one division."""
    chosen = scaling_of(kernel)
    return replace(chosen, arithmetic="divide") if chosen.arithmetic is None else chosen


def _quantized(x: Operand, chosen: Scaling) -> quantize.Quantized:
    if chosen.rule != "given":
        return quantize.quantize(x.values, chosen, x.format)
    scale = Operand.of(np.full(chosen.scale_shape(x.values.shape), np.abs(x.values).max() / 127), "f32")
    return quantize.quantize_with(x.values, quantize.given(chosen, scale.codes, None, None), chosen, x.format)
