"""The data that others test with: questions for a kernel, with the answer in f64, as their test files draw them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.kernel import Kernel
from lastbit.references.data import Operand

Array = NDArray[np.float64]
Codes = NDArray[Any]
Rng = np.random.Generator
#: Values of a shape.
Fill = Callable[[Rng, tuple[int, ...]], Array]
SOFTMAXES = ("softmax", "log_softmax", "logsumexp")


@dataclass(frozen=True, slots=True)
class Question:
    """The operands of one call and what the answer to it is."""

    operands: Mapping[str, Operand]
    #: The answer in f64, before it is rounded to the output format.
    exact: Array
    #: The answer rounded to the output format, which most tests compare with.
    expected: Array
    #: The same op on the magnitudes of the operands: |A||B|.
    weight: Array
    #: The answer of plain code that rounds after each operation, which FlashAttention's test takes as its measure.
    plain: Array
    #: Products that are summed for an element.
    terms: int
    #: The output format.
    format: str
    #: Keywords that the kernel is called with.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The result that this is about, by its name in lastbit.results.
    name: str = "out"
    #: The same of the kernel's further results; the operands are those of the first.
    others: tuple["Question", ...] = ()
    #: What the codes of all results are worth together, where that is compared; None where they are no such codes.
    worth: Callable[[list[Codes]], Array | None] | None = None


#: A question for a kernel; None where those who test so have none for it.
Draw = Callable[[Rng, Kernel], Question | None]


def normal(rng: Rng, shape: tuple[int, ...]) -> Array:
    """N(0, 1), torch.randn."""
    return rng.standard_normal(shape)


def unit(rng: Rng, shape: tuple[int, ...]) -> Array:
    """U(0, 1), torch.rand."""
    return rng.random(shape)


def symmetric(rng: Rng, shape: tuple[int, ...]) -> Array:
    """U(-1, 1)."""
    return rng.uniform(-1, 1, shape)


def half(rng: Rng, shape: tuple[int, ...]) -> Array:
    """U(-1/2, 1/2), as High-Performance LINPACK fills its matrices."""
    return rng.uniform(-0.5, 0.5, shape)


def integers(most: int) -> Fill:
    """Integers from -most to most."""
    return lambda rng, shape: rng.integers(-most, most + 1, shape).astype(float)


def gemm(fill: Fill, m: int = 64, n: int = 64, k: int = 128, other: Fill | None = None) -> Draw:
    """A product of matrices filled by `fill`, b by `other` where given; integer operands are from -5 to 5."""

    def pair(rng: Rng, formats: Mapping[str, str]) -> tuple[Array, Array]:
        fills = (fill, other or fill)
        if formats["a"] in ("i8", "u8"):
            fills = (integers(5), integers(5))
        a, b = fills[0](rng, (m, k)), fills[1](rng, (k, n))
        return np.abs(a) if formats["a"] == "u8" else a, np.abs(b) if formats["b"] == "u8" else b

    return gemm_of(pair)


def gemm_of(pair: Callable[[Rng, Mapping[str, str]], tuple[Array, Array]]) -> Draw:
    """A product of the two matrices of `pair`."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        a, b = (Operand.of(x, formats[name]) for name, x in zip("ab", pair(rng, formats), strict=True))
        with np.errstate(all="ignore"):
            exact, weight = a.values @ b.values, np.abs(a.values) @ np.abs(b.values)
        return question({"a": a, "b": b}, exact, weight, a.values.shape[-1], formats["out"])

    return draw


def rows(fill: Fill, m: int = 64, n: int = 128) -> Draw:
    """Logits for softmax, log_softmax or logsumexp over the rows of a matrix."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        x = Operand.of(fill(rng, (m, n)), formats["x"])
        below = x.values - x.values.max(-1, keepdims=True)
        log_sum = np.log(np.exp(below).sum(-1, keepdims=True))
        exact = below - log_sum
        if kernel.op == "softmax":
            exact = np.exp(exact)
        elif kernel.op == "logsumexp":
            exact = (x.values.max(-1, keepdims=True) + log_sum)[..., 0]
        return question({"x": x}, exact, np.abs(exact), n, formats["out"])

    return draw


def attention(fill: Fill, b: int = 2, h: int = 2, l: int = 128, d: int = 32) -> Draw:
    """Self-attention of equal lengths, causal where the kernel has it."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        q, k, v = (Operand.of(fill(rng, (b, h, l, d)), formats[name]) for name in "qkv")
        causal = "causal" in kernel.features
        exact = attend(q.values, k.values, v.values, causal, lambda x: x)
        plain = attend(q.values, k.values, v.values, causal, lambda x: Operand.of(x, formats["out"]).values)
        weight = attend(q.values, k.values, np.abs(v.values), causal, lambda x: x)
        return question(
            {"q": q, "k": k, "v": v}, exact, weight, l, formats["out"], plain, {"causal": True} if causal else {}
        )

    return draw


def per_op(fill: Fill, m: int = 64, n: int = 128) -> dict[str, Draw]:
    """One way to fill, for every op; softmax has m rows of n."""
    return {"gemm": gemm(fill), "attention": attention(fill), **dict.fromkeys(SOFTMAXES, rows(fill, m, n))}


def question(
    operands: Mapping[str, Operand],
    exact: Array,
    weight: Array,
    terms: int,
    format: str,
    plain: Array | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "out",
    others: tuple[Question, ...] = (),
) -> Question:
    """The question whose answer is `exact`, which is rounded to `format`; plain code rounds as often if not given."""
    expected = Operand.of(exact, format).values
    around = expected if plain is None else plain
    return Question(operands, exact, expected, weight, around, terms, format, options or {}, name, others)


def attend(q: Array, k: Array, v: Array, causal: bool, step: Callable[[Array], Array]) -> Array:
    """Softmax attention in f64, each operation's result through `step`."""
    scores = step(step(q @ np.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5)
    if causal:
        scores = np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return step(step(weights / weights.sum(-1, keepdims=True)) @ v)
