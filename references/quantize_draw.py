"""QuantizeDraw, what a recipe for quantizers is given: a tensor's groups, their scales, and the points of a format."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.quantize import Scales, given, scales
from lastbit.references.scaling import POWERS, Scaling

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Exponents of scales: every input format holds largest * scale and the smallest tie * scale.
LOWEST, HIGHEST = -6, 0
#: Exponents in no order, of a prime number: whole rows and tiles do not fall on the same ones again.
APART = (0, 7, -4, 3, -8, 5, -2, 8, -6, 1, 6, -5, 2)
#: Multiples of a power of two that amax is: the corners of every rule for power-of-two scales, and one inside.
CORNERS = (1.0, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.96875, 1.25)


@dataclass(frozen=True)
class QuantizeDraw:
    """Shape and format of x, the scaling, and the generator to draw from."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    x: Format
    scaling: Scaling
    #: Scales that are powers of two where the recipe can choose, or any.
    powers: bool = True
    #: Scales of every exponent that their format has, where the kernel is given them.
    wide: bool = False

    @cached_property
    def given(self) -> Scales:
        """The scales that a kernel is given, of a scaling whose rule is "given": half negative, if any may be."""
        scaling, shape = self.scaling, self.scaling.scale_shape(self.shape)
        stored = Format.of(scaling.scale_format or "f32")
        signs = (1.0,) if scaling.unsigned_scales else (1.0, -1.0)
        top = None
        if scaling.global_scale is not None:
            top = Format.of(scaling.global_scale).encode(0.25 * self.rng.choice(signs, ()))
        sizes = stored.round((_every_exponent if self.wide else _targets)(self))
        if stored.signed:
            sizes = sizes * self.rng.permutation(np.resize(signs, self.count))
        scale = stored.encode(sizes.reshape(shape))
        zero = None
        if scaling.zero_point is not None:
            edges = [scaling.low, scaling.high, max(scaling.low, 0.0), scaling.low + 1]
            zero = Format.of(scaling.zero_point).encode(self.rng.choice(edges, shape))
        return given(scaling, scale, zero, top)

    @cached_property
    def group(self) -> Indices:
        """The number of each element's group, in row-major order of the scales."""
        shape = self.scaling.scale_shape(self.shape)
        numbers = np.arange(int(np.prod(shape))).reshape(shape)
        return np.asarray(np.broadcast_to(spread(numbers, self.scaling, self.shape), self.shape))

    @cached_property
    def count(self) -> int:
        """How many groups there are."""
        return int(np.prod(self.scaling.scale_shape(self.shape)))

    @cached_property
    def ends(self) -> tuple[Indices, Indices]:
        """Flat indices of the first and the last element of each group."""
        flat = self.group.reshape(-1)
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(self.count))
        stops = np.append(starts[1:], flat.size)
        return order[starts], order[stops - 1]

    def by_group(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """One of `values` (count,) for each element."""
        return values[self.group]

    def turn(self, values: tuple[float, ...]) -> Array:
        """`values` in turn, one a group, for each element."""
        return np.array(values)[self.group % len(values)]

    def places(self) -> Indices:
        """A flat index in each group: the first, the last, or any, in turn."""
        first, last = self.ends
        flat = self.group.reshape(-1)
        shuffled = self.rng.permutation(flat.size)
        anywhere = np.empty(self.count, np.int64)
        anywhere[flat[shuffled]] = shuffled
        return np.choose(np.arange(self.count) % 3, (first, last, anywhere))

    def powers_apart(self) -> NDArray[np.int64]:
        """(count,) exponents from -8 to 8 that differ between neighbours along every axis of the scales."""
        shape = self.scaling.scale_shape(self.shape)
        numbers = np.zeros(shape, np.int64)
        for place, step in zip(np.indices(shape), (5, 3, 7, 2), strict=False):
            numbers += step * place
        return np.array(APART)[numbers.reshape(-1) % len(APART)]

    def signs(self, shape: tuple[int, ...]) -> Array:
        """Random signs."""
        return self.rng.choice(np.array([-1.0, 1.0]), shape)


@dataclass(frozen=True, slots=True)
class QuantizeRecipe:
    """A way to draw x: its name, what it is for, and the function that draws float64 values."""

    name: str
    why: str
    draw: Callable[[QuantizeDraw], Array]
    #: Whether the format of x and the scaling have what it needs.
    needs: Callable[[Format, Scaling], bool] = lambda x, scaling: True
    #: Scales that are powers of two where the recipe can choose, or any.
    powers: bool = True
    #: Scales of every exponent, where they are given.
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A tensor whose scales are known: zero but for the elements that decide them."""

    x: Array
    #: Where those elements are.
    fixed: NDArray[np.bool_]
    #: What a quotient of 1 is worth, for each element.
    step: Array
    #: Most positive and most negative number that leaves the scales as they are.
    low: Array
    high: Array
    #: The zero point of each element.
    zero: Array


def stepped(fmt: Format, x: Array, steps: Array) -> Array:
    """Numbers of a float format moved by -1, 0 or 1 steps of it: below a power of two the steps are half as wide."""
    inward = steps * np.sign(x) < 0
    return np.asarray(x + steps * fmt.ulp(np.where(inward, np.nextafter(x, 0), x)))


def normal(draw: QuantizeDraw) -> Array:
    """N(0, 1)."""
    return draw.rng.standard_normal(draw.shape)


def rows(draw: QuantizeDraw) -> Indices:
    """The number of each element's row."""
    numbers = np.arange(int(np.prod(draw.shape[:-1]))).reshape(*draw.shape[:-1], 1)
    return np.asarray(np.broadcast_to(numbers, draw.shape))


def grid(draw: QuantizeDraw) -> Grid:
    """Scales that are powers of two, or any; and what decides them, in place."""
    if draw.scaling.rule == "given":
        none, reach = np.zeros(draw.shape), np.full(draw.count, draw.x.max)
        return _grid(draw, none, none.astype(bool), draw.given, -reach, reach)
    target = _targets(draw)
    x, fixed = np.zeros(draw.shape), np.zeros(draw.shape, bool)
    low, high = np.zeros(draw.count), np.zeros(draw.count)
    if draw.scaling.rule == "affine_min_max":
        whole = draw.scaling.largest
        high = np.floor(draw.rng.choice([0.0, 1.0, 0.5, 0.3, 0.9], draw.count) * whole) * target
        low = high - whole * target
    else:
        reach = abs(draw.scaling.largest) * np.ones(draw.count)
        if draw.scaling.rule in POWERS:
            base = 2.0 ** np.floor(np.log2(draw.scaling.largest))
            reach = np.where(draw.rng.random(draw.count) < 0.5, reach, base * draw.rng.choice(CORNERS, draw.count))
        high, low = reach * target, -reach * target
    high, low = draw.x.round(high, overflow="saturate"), draw.x.round(low, overflow="saturate")
    # A group of one element has one end alone.
    first, last = draw.ends
    place = draw.places()
    other = np.where(place == first, last, first)
    lower = draw.rng.random(draw.count) < 0.5
    if draw.scaling.rule == "affine_min_max":
        x.reshape(-1)[other] = low
        x.reshape(-1)[place] = high
        fixed.reshape(-1)[other] = True
    else:
        x.reshape(-1)[place] = np.where(lower, low, high)
    fixed.reshape(-1)[place] = True
    if draw.scaling.rule == "signed_amax":  # the first of the largest counts: none may be as large
        low, high = np.nextafter(low, 0), np.nextafter(high, 0)
    found = scales(x, draw.scaling, draw.x.name)
    return _grid(draw, x, fixed, found, low, high)


def fill(draw: QuantizeDraw, grid: Grid, quotients: Array) -> Array:
    """x with as many of the quotients as it has room for, every one of them if it has; the scales stay as they are.

    A quotient is the number that is rounded to the element, times what it is worth: exact where that is a power of two.
    """
    size = int(np.prod(draw.shape))
    chosen = quotients[draw.rng.permutation(np.arange(size) % quotients.size)].reshape(draw.shape)
    x = draw.x.round((chosen - grid.zero) * grid.step, overflow="saturate")
    beyond = (x < grid.low) | (x > grid.high)
    x = np.where(beyond, np.clip(x, grid.low, grid.high) * draw.rng.random(draw.shape), x)
    return np.where(grid.fixed, grid.x, draw.x.round(x))


def levels(scaling: Scaling) -> Array:
    """The element format's numbers in use, ascending; of a format with 16 or more bits none."""
    element = Format.of(scaling.element)
    values = element.decode(np.arange(1 << element.bits))
    values = np.unique(values[np.isfinite(values)])
    return values[(values >= scaling.low) & (values <= scaling.high)]


def ties(scaling: Scaling) -> Array:
    """The points half way between neighbours of `levels`, and beyond the ends as far."""
    found = levels(scaling)
    middle = (found[1:] + found[:-1]) / 2
    return np.concatenate([[2 * found[0] - middle[0]], middle, [2 * found[-1] - middle[-1]]])


def _targets(draw: QuantizeDraw) -> Array:
    """(count,) scales to aim at, the global one included."""
    scaling, rng = draw.scaling, draw.rng
    count = draw.count
    part = np.ones(count) if draw.powers else rng.uniform(1.0, 2.0, count)
    if scaling.global_scale is None:
        return np.ldexp(part, rng.integers(LOWEST, HIGHEST + 1, count))
    top = np.ldexp(1.0 if draw.powers else rng.uniform(1.0, 2.0), int(rng.integers(LOWEST, HIGHEST + 1)))
    stored = Format.of(scaling.scale_format or "e4m3fn")
    most = scaling.global_largest / scaling.largest
    inner = np.minimum(np.ldexp(part, rng.integers(-4, 8, count)), most)
    inner = stored.round(inner) if draw.powers else inner
    inner[rng.integers(0, count) if count else slice(0)] = most
    return np.asarray(inner * top)


def _every_exponent(draw: QuantizeDraw) -> Array:
    """(count,) numbers of the scale format of every exponent, subnormal ones too, from a random one on."""
    stored = Format.of(draw.scaling.scale_format or "f32")
    lowest = stored.emin - stored.precision + 1
    turns = np.linspace(0, stored.emax - 1 - lowest, max(draw.count, 2)).astype(np.int64)[: draw.count]
    start = int(draw.rng.integers(0, stored.emax - lowest))
    part = np.ones(draw.count) if draw.powers else draw.rng.uniform(1.0, 2.0, draw.count)
    return np.asarray(np.ldexp(part, lowest + (start + draw.rng.permutation(turns)) % (stored.emax - lowest)))


def per_element(found: Scales, scaling: Scaling, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """What a quotient of 1 is worth and the zero point, for each element."""

    def each(values: Array) -> Array:
        return np.asarray(np.broadcast_to(spread(values, scaling, shape), shape))

    top = 1.0
    if found.global_scale is not None and scaling.global_scale is not None:
        top = float(Format.of(scaling.global_scale).decode(np.asarray(found.global_scale)))
    zero = np.full(shape, scaling.fixed_zero)
    if found.zero_point is not None and scaling.zero_point is not None:
        zero = each(Format.of(scaling.zero_point).decode(found.zero_point))
    return each(np.where(np.isfinite(found.divisor), found.divisor, 1.0)) * top / scaling.steps, zero


def _grid(draw: QuantizeDraw, x: Array, fixed: NDArray[np.bool_], found: Scales, low: Array, high: Array) -> Grid:
    step, zero = per_element(found, draw.scaling, draw.shape)
    return Grid(x, fixed, step, low[draw.group], high[draw.group], zero)
