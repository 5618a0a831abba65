"""Rows of logits by recipe: sharp, offset, increasing, equal, one-hot, masked, nearly overflowing, special."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from lastbit.references.data import Operand
from lastbit.references.formats import Format

Array = NDArray[np.float64]

NEVER: frozenset[str] = frozenset()
#: Ops whose answer on a recipe is rounded once, at the end, in every order of computation.
ONLY_SOFTMAX = frozenset({"softmax"})
ALL = frozenset({"softmax", "log_softmax", "logsumexp"})


@dataclass(frozen=True, slots=True)
class Rows:
    """Shape (.., m, n) and formats of the logits, and the generator to draw from."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    x: Format
    out: Format

    @property
    def turn(self) -> Array:
        """The number of each row in its matrix, (m, 1)."""
        return np.arange(self.shape[-2], dtype=np.float64)[:, None]

    def normal(self) -> Array:
        """N(0, 1)."""
        return self.rng.standard_normal(self.shape)

    def by_row(self, values: list[float]) -> Array:
        """`values` in turn, one a row, (m, 1)."""
        return np.array(values)[np.arange(self.shape[-2]) % len(values)][:, None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to draw logits: its name, what it is for, and the function that draws float64 values."""

    name: str
    why: str
    draw: Callable[[Rows], Array]
    #: Ops whose answer is unique: one rounding of the exact value.
    exact: frozenset[str] = NEVER
    #: Whether formats (x, out) have what it needs.
    needs: Callable[[Format, Format], bool] = lambda x, out: True


def operands(recipe: str, formats: Mapping[str, str], sizes: Mapping[str, int], seed: int) -> dict[str, Operand]:
    """Operand x (.., m, n) in the format of "x"; `sizes` are m and n, and batch before them if there is one.

    The same arguments give the same bits on every machine (PCG64 and exact rounding).
    Raises KeyError for a recipe that RECIPES does not list.
    """
    shape = tuple(sizes.values())
    key = f"{recipe} {formats['x']} {formats['out']} {shape}"
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    rows = Rows(rng, shape, Format.of(formats["x"]), Format.of(formats["out"]))
    values = RECIPES[recipe].draw(rows) if all(shape) else np.zeros(shape)
    return {"x": Operand.of(values, formats["x"])}


def applicable(recipe: str, formats: Mapping[str, str]) -> bool:
    """Whether the formats have what the recipe needs (NaN, infinities, range)."""
    return RECIPES[recipe].needs(Format.of(formats["x"]), Format.of(formats["out"]))


def normal(rows: Rows) -> Array:
    """N(0, 1): flat rows, every weight counts."""
    return rows.normal()


def sharp(rows: Rows) -> Array:
    """N(0, 30^2): few weights count, the others underflow one after the other."""
    return 30 * rows.normal()


def offset_1e4(rows: Rows) -> Array:
    """N(0, 1) around +-1e4 and its halves: exp(x) and exp(x - lse) fail, and so does a maximum that starts at 0."""
    return _offset(rows, 1e4)


def offset_1e7(rows: Rows) -> Array:
    """N(0, 1), or a few steps of the format, around +-1e7 and its halves."""
    return _offset(rows, 1e7)


def increasing(rows: Rows) -> Array:
    """From -20 to 20 with noise: the running maximum changes in every block."""
    return np.linspace(-20, 20, rows.shape[-1]) * rows.by_row([1.0, -0.75, 0.25]) + 0.1 * rows.normal()


def low(rows: Rows) -> Array:
    """Rows around -200, 150, -90 and 0: a maximum of the wrong axis, or one that starts at 0, shows."""
    return rows.by_row([-200.0, 150.0, -90.0, 0.0]) + rows.normal()


def repeated(rows: Rows) -> Array:
    """Few different integers, the maximum many times in a row."""
    return rows.rng.integers(-6, 3, rows.shape).astype(np.float64)


def sink(rows: Rows) -> Array:
    """N(0, 1) with one logit 20 higher, first, last or anywhere: the attention sink."""
    x = rows.normal()
    columns = np.where(rows.turn[:, 0] % 3 == 0, 0, rows.rng.integers(0, rows.shape[-1], rows.shape[-2]))
    columns = np.where(rows.turn[:, 0] % 3 == 1, rows.shape[-1] - 1, columns)
    x[..., np.arange(rows.shape[-2]), columns] += 20
    return x


def spread(rows: Rows) -> Array:
    """From -88 to 88, and a little lower in most rows: the widest range that exp of f32 has without a maximum."""
    return rows.by_row([0.0, -4.0, -11.0]) + _mixed(rows, -88, 88)


def tails(rows: Rows) -> Array:
    """Logits down to where the weights leave the output's smallest subnormal number: flushed tails show."""
    depth = -log(max(rows.out.eta, 2.0**-1074)) + 3
    return rows.by_row([0.0, 2.0, -5.0]) + _mixed(rows, -depth, 0)


def near_overflow(rows: Rows) -> Array:
    """Numbers near the largest of the format, both signs: differences overflow, and no maximum may be missed."""
    x = rows.rng.uniform(0.9, 1.0, rows.shape) * rows.by_row([1.0, -1.0, 1.0])
    x = np.where(rows.rng.random(rows.shape) < 0.2 * (rows.turn % 3 == 2), -x, x)
    return x * rows.x.max


def masked(rows: Rows) -> Array:
    """N(0, 3^2) with from none to most of a row -inf, whole stretches of it included."""
    x = 3 * rows.normal()
    x[rows.rng.random(rows.shape) < rows.by_row([0.0, 0.3, 0.9])] = -np.inf
    n = rows.shape[-1]
    x[..., 1::2, : n // 2] = -np.inf
    x[..., 2::4, n // 2 :] = -np.inf
    return _never_empty(x, rows)


def log_probabilities(rows: Rows) -> Array:
    """N(0, 1) less about its log-sum-exp, which is then around zero: there the last bits of the sum show in it.

    In every other row one logit has most of the weight: a sum between 1 and 2, whose logarithm is finer than it.
    """
    largest, rest = -0.3125, 1.3125
    x = rows.normal() - round(64 * (log(rows.shape[-1]) + 0.5)) / 64  # a normal weight has mean e^(1/2)
    x[..., ::2, :] -= rest
    x[..., np.arange(rows.shape[-2]), _places(rows)] = np.where(
        np.arange(rows.shape[-2]) % 2, x[..., np.arange(rows.shape[-2]), _places(rows)], largest
    )
    return x


def equal(rows: Rows) -> Array:
    """All logits of a row equal: 1/n, rounded once."""
    return np.broadcast_to(rows.by_row([0.0, 1.0, -3.5, 88.0, -1000.0, 12.0]), rows.shape).copy()


def one_hot(rows: Rows) -> Array:
    """One finite logit among -inf, at every position in turn: exactly 1 and 0, and that logit."""
    x = np.full(rows.shape, -np.inf)
    x[..., np.arange(rows.shape[-2]), _places(rows)] = np.array([0.0, -5.0, 3.25, 100.0])[_cycle(rows, 4)]
    return x


def far(rows: Rows) -> Array:
    """One logit so far above all others that their weights are nothing: 1 and 0."""
    size = min(6e4, rows.x.max)
    x = np.full(rows.shape, -size)
    x[..., np.arange(rows.shape[-2]), _places(rows)] = np.array([0.0, -2.0, 4.0, 64.0])[_cycle(rows, 4)]
    return x


def several(rows: Rows) -> Array:
    """Some equal logits among -inf: one over their number, and 0."""
    x = np.where(rows.rng.random(rows.shape) < rows.by_row([0.5, 0.1, 0.9]), 2.0, -np.inf)
    return _never_empty(x, rows)


def special(rows: Rows) -> Array:
    """NaN, +inf, -inf, each alone and together, in the first, the last and inner columns, beside ordinary rows."""
    x = rows.normal()
    marks: list[list[float]] = [[np.nan], [np.inf], [-np.inf], [np.nan, -np.inf], [np.inf, -np.inf], [np.inf, np.nan]]
    for row in range(rows.shape[-2] - 1):  # the last row stays ordinary
        kind = row % (len(marks) + 2)
        if kind == len(marks):
            x[..., row, :] = -np.inf
            continue
        for mark in marks[kind] if kind < len(marks) else []:
            x[..., row, rows.rng.integers(0, rows.shape[-1]) if row > 8 else (0 if row % 2 else -1)] = mark
    if rows.shape[-2] > 9:
        x[..., 8, :] = np.where(rows.rng.random(rows.shape[-1]) < 0.5, -np.inf, np.nan)
    return x


def shifted(rows: Rows) -> Array:
    """Multiples of 1/4 from -8 to 8: adding a small power of two is exact in every format."""
    return rows.rng.integers(-32, 33, rows.shape) / 4


def _mixed(rows: Rows, low: float, high: float) -> Array:
    """Evenly spaced logits, in another order in each row."""
    mixed: Array = rows.rng.permuted(np.broadcast_to(np.linspace(low, high, rows.shape[-1]), rows.shape), axis=-1)
    return mixed


def _offset(rows: Rows, size: float) -> Array:
    size = min(size, rows.x.max / 2)
    offset = size * rows.by_row([1.0, -1.0, 0.5, -0.5])
    return offset + rows.normal() * max(1.0, float(rows.x.ulp(np.array([size]))[0]))


def _places(rows: Rows) -> NDArray[np.int64]:
    """A column for each row: the last, the first, then others."""
    m, n = rows.shape[-2:]
    return (n - 1 - np.arange(m) * max(1, (n - 1) // max(1, m - 1))) % n


def _cycle(rows: Rows, length: int) -> NDArray[np.int64]:
    return np.arange(rows.shape[-2]) % length


def _never_empty(x: Array, rows: Rows) -> Array:
    """`x` with 1 in one column of every row that is -inf throughout."""
    empty = np.isneginf(x).all(axis=-1)
    x[..., rows.shape[-1] // 3][empty] = 2.0
    return x


def _has_infinity(x: Format, out: Format) -> bool:
    return x.has_inf


def _has_special(x: Format, out: Format) -> bool:
    return x.has_inf and x.has_nan and out.has_nan and out.has_inf


#: Every recipe by name.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("equal", "equal logits give 1/n, rounded once", equal, ONLY_SOFTMAX),
        Recipe("one_hot", "one finite logit among -inf: exact", one_hot, ALL, _has_infinity),
        Recipe("far", "one logit far above all others: exact", far, ALL),
        Recipe("several", "equal logits among -inf", several, ONLY_SOFTMAX, _has_infinity),
        Recipe("normal", "N(0, 1)", normal),
        Recipe("sharp", "N(0, 30^2)", sharp),
        Recipe("offset_1e4", "around +-1e4", offset_1e4),
        Recipe("offset_1e7", "around +-1e7", offset_1e7),
        Recipe("increasing", "the maximum changes in every block", increasing),
        Recipe("low", "rows around very different maxima", low),
        Recipe("repeated", "the maximum many times", repeated),
        Recipe("sink", "one logit 20 above the others", sink),
        Recipe("spread", "from -88 to 88", spread),
        Recipe("tails", "weights down to the smallest subnormal", tails),
        Recipe("near_overflow", "near the largest number, both signs", near_overflow),
        Recipe("masked", "-inf in part of the rows", masked, needs=_has_infinity),
        Recipe("log_probabilities", "log-sum-exp around zero: the last bits of the sum show", log_probabilities),
        Recipe("shifted", "multiples of 1/4, to be shifted", shifted),
        Recipe("special", "NaN, +inf, rows of -inf", special, needs=_has_special),
    )
}
