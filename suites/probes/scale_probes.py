"""P26: how a quantizer gets its scales: the rule, its arithmetic and rounding, and what strange blocks give."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from lastbit.references.formats import Format
from lastbit.references.one_rounding import divide, multiply
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.element_probes import element_answers
from lastbit.suites.probes.op_access import Array, Ask, stepped
from lastbit.suites.probes.scale_access import Groups, groups_of, with_amax

#: Exponents at which powers of two are asked.
EXPONENTS = (0, 3, -5)
#: Steps of a significand from 1 to 2, each with its neighbours.
STEPS = 32
#: What amax is divided by, besides the element's largest number, that and a half, and one more.
LARGEST = (1.0, 4.0, 6.0, 7.0, 7.5, 8.0, 15.0, 16.0, 127.0, 127.5, 128.0, 224.0, 240.0, 255.0, 448.0, 57344.0)
ROUNDINGS = ("nearest-even", "up", "down")
#: Groups whose scales are compared with each way to compute them.
DRAWN = 256


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute a scale that is no power of two."""

    largest: float
    #: "divide" or "reciprocal": amax / largest, or amax times its rounded reciprocal.
    arithmetic: str
    compute: str
    rounding: str


def scale_answers(ask: Ask) -> list[Answer]:
    """Every probe of a quantizer.

    Raises AccessError where the kernel gives no result.
    """
    groups = groups_of(ask)
    powers = Format.of(groups.scaling.scale_format or "f32").kind == "exponent"
    return [
        *(power_rule(groups) if powers else quotient_rule(groups)),
        zero_block(groups),
        strange_block(groups, "nan_block", np.nan),
        strange_block(groups, "infinite_block", np.inf),
        tiny_block(groups),
        *element_answers(groups),
    ]


def power_rule(groups: Groups) -> list[Answer]:
    """The rule of scales that are powers of two: their exponent at 2^k, and the significand from which they double."""
    element, x = Format.of(groups.scaling.element), groups.x
    grid = 1 + np.arange(STEPS) / STEPS
    precise = np.array([element.max / 2.0 ** np.floor(np.log2(element.max)), 2 - 2.0**-element.precision])
    points = x.round(np.concatenate([grid, precise]))
    around = np.concatenate([stepped(x, points, step) for step in (-1, 0, 1)])
    s = np.unique(np.append(around, stepped(x, np.array([2.0]), -1)))
    s = s[(s >= 1) & (s < 2)]
    amax = np.concatenate([np.ldexp(s, k) for k in EXPONENTS])
    scale = groups(with_amax(amax, groups.size, x)).scale
    steps = (np.log2(scale) - np.repeat(EXPONENTS, len(s))).reshape(len(EXPONENTS), -1)
    name, told = "scale_rule", _steps_text(s, steps[0])
    if not (steps == steps[0]).all() or (np.diff(steps[0]) < 0).any() or steps[0][-1] - steps[0][0] > 1:
        return [undecided("P26", name, "it depends on more than the significand of the largest number", told)]
    base, doubled = float(steps[0][0]), s[steps[0] > steps[0][0]]
    from_ = float(doubled[0]) if len(doubled) else None
    fits = [rule for rule, wanted in _rules(element, groups.scaling.largest, x).items() if wanted == (base, from_)]
    if len(fits) > 1:
        return [undecided("P26", name, f"{' and '.join(fits)} are one rule for these formats", told)]
    if fits or from_ is None:
        return [Answer("P26", name, fits[0] if fits else f"2^{base:g} everywhere", told)]
    first = _doubling(groups, base, float(s[steps[0] == steps[0][0]][-1]), from_)
    return [Answer("P26", name, f"2^{base:g}, doubled from {first!r}", told)]


def _doubling(groups: Groups, base: float, low: float, high: float) -> float:
    """The first significand between two, by search, whose scale is twice 2^base."""
    x = groups.x
    while True:
        codes = x.encode(np.array([low, high])).astype(np.int64)
        gap = int(codes[1] - codes[0])
        points = stepped(x, np.full(STEPS, low), np.linspace(0, gap, STEPS).astype(np.int64))
        over = np.log2(groups(with_amax(points, groups.size, x)).scale) > base
        first = int(np.argmax(over))
        low, high = float(points[first - 1]), float(points[first])
        if gap < STEPS:
            return high


def _rules(element: Format, largest: float, x: Format) -> dict[str, tuple[float, float | None]]:
    """Of each rule the exponent at 1, and the first significand that has the next one."""

    def first(value: float, *, above: bool) -> float | None:
        below = x.round(np.array([value]), rounding="toward-zero")
        found = below if below[0] == value and not above else stepped(x, below, 1)
        return float(found[0]) if found[0] < 2 else None

    top = int(np.floor(np.log2(largest)))
    return {
        "floor": (-float(top), None),
        "ceil": (-float(top), first(1.0, above=True)),
        "even": (-float(top), first(2 - 2.0**-element.precision, above=False)),
        "rceil": (-float(top), first(largest / 2.0**top, above=True)),
    }


def quotient_rule(groups: Groups) -> list[Answer]:
    """The rule of scales that are quotients: every way that gives all of the scales of random groups."""
    rng, x = np.random.default_rng(27), groups.x
    count = groups.count(DRAWN if groups.scaling.granularity != "tensor" else DRAWN // 4)
    amax = x.round(np.exp2(rng.uniform(-3, 3, count)))
    given = with_amax(amax, groups.size, x)
    signed = np.take_along_axis(given, np.abs(given).argmax(axis=1)[:, None], axis=1)[:, 0]
    given = np.abs(given) if groups.scaling.zero_point is not None else given
    found = groups(given)
    negative = (found.scale < 0) | np.signbit(found.scale)
    ways = [way for way in _ways(groups) if np.array_equal(_scales(way, amax, found.top, groups), np.abs(found.scale))]
    ratio = amax / np.abs(found.scale * found.top)
    told = f"amax over the scale of {count} groups is {ratio.min():.7g} to {ratio.max():.7g}"
    names = ("scale_rule", "scale_arithmetic", "scale_rounding")
    if not ways:
        return [undecided("P26", name, "no way to compute a scale that is known gives them", told) for name in names]
    what = "amax" if groups.scaling.zero_point is None else _range_name(groups)
    if negative.any():
        what = "amax with its sign" if np.array_equal(negative, signed < 0) else "amax with the other sign"
    stored = Format.of(groups.scaling.scale_format or "f32")
    exact_store = all(Format.of(way.compute).precision <= stored.precision for way in ways)
    return [
        _one("scale_rule", [f"{what} / {way.largest:g}" for way in ways], told),
        _one("scale_arithmetic", [f"{way.arithmetic} in {way.compute}" for way in ways], told),
        undecided("P26", "scale_rounding", f"{stored.name} holds what is computed")
        if exact_store
        else _one("scale_rounding", [way.rounding for way in ways], told),
    ]


def _range_name(groups: Groups) -> str:
    """ "max - min" where the range of a group of both signs makes its scale, else "amax"."""
    one = np.zeros((2, groups.size))
    one[:, 0], one[0, 1] = 1.0, -1.0
    scale = groups(one).scale
    return "(max - min)" if scale[0] > 1.5 * scale[1] else "amax"


def _ways(groups: Groups) -> list[Way]:
    top = Format.of(groups.scaling.element).max
    largest = sorted({*LARGEST, top, top + 0.5, top + 1, 2 * top + 1})
    computes = sorted({"f32", groups.x.name})
    stored = Format.of(groups.scaling.scale_format or "f32")
    roundings = ROUNDINGS if stored.precision < 24 else ROUNDINGS[:1]
    return [Way(*one) for one in product(largest, ("divide", "reciprocal"), computes, roundings)]


def _scales(way: Way, amax: Array, top: float, groups: Groups) -> Array:
    """What the way makes of amax, under a scale of the tensor."""
    stored = Format.of(groups.scaling.scale_format or "f32")
    amax = Format.of(way.compute).round(amax)
    if way.arithmetic == "divide":
        raw = divide(amax, way.largest, way.compute)
    else:
        raw = multiply(amax, float(divide(np.ones(1), way.largest, way.compute)[0]), way.compute)
    if groups.scaling.global_scale is not None:
        raw = divide(raw, top, way.compute)
    return stored.round(raw, rounding=way.rounding, overflow=None if stored.has_inf else "saturate")


def _one(name: str, values: list[str], told: str) -> Answer:
    """The value that all surviving ways agree on."""
    kinds = sorted(set(values))
    if len(kinds) > 1:
        return undecided("P26", name, f"{' and '.join(kinds)} give the same scales", told)
    return Answer("P26", name, kinds[0], told)


def zero_block(groups: Groups) -> Answer:
    """What a group of zeros gives, beside others."""
    found = groups(_beside(groups, np.zeros(groups.size)))
    codes = found.elements[0]
    told = f"scale {_hex(found.scale[0])}, codes {codes[0]:g}"
    return Answer("P26", "zero_block", f"scale {_hex(found.scale[0])}, codes {_kind(codes)}", told)


def strange_block(groups: Groups, name: str, value: float) -> Answer:
    """What a group gives that holds one NaN, or one infinity."""
    has = groups.x.has_nan if np.isnan(value) else groups.x.has_inf
    if not has:
        return undecided("P26", name, f"{groups.x.name} has no {value:g}")
    one = np.ones(groups.size)
    one[1] = value
    try:
        found = groups(_beside(groups, one))
    except AccessError as error:
        return Answer("P26", name, "refused", str(error)[:200])
    codes = found.elements[0]
    told = f"one {value:g} among 1: scale {_hex(found.scale[0])}, its code {codes[1]:g}, that of 1 {codes[0]:g}"
    return Answer("P26", name, f"scale {_hex(found.scale[0])}, codes {codes[1]:g} and {codes[0]:g}", told)


def tiny_block(groups: Groups) -> Answer:
    """What a group gives whose largest number is the smallest of its format."""
    one = np.zeros(groups.size)
    one[0] = groups.x.eta
    found = groups(_beside(groups, one))
    told = f"largest number {groups.x.eta:g}: scale {_hex(found.scale[0])}, its code {found.elements[0, 0]:g}"
    return Answer("P26", "tiny_block", f"scale {_hex(found.scale[0])}, code {found.elements[0, 0]:g}", told)


def _beside(groups: Groups, one: Array) -> Array:
    """The group, and a plain one where groups do not share a scale."""
    if groups.scaling.granularity == "tensor":
        return one[None]
    return np.stack([one, np.ones(len(one))])


def _hex(scale: float) -> str:
    power = np.log2(abs(scale)) if np.isfinite(scale) and scale else 0.5
    return f"2^{power:g}" if power == np.rint(power) else f"{scale:.9g}"


def _kind(codes: Array) -> str:
    return f"{codes[0]:g}" if np.isnan(codes).all() or (codes == codes[0]).all() else "mixed"


def _steps_text(s: Array, steps: Array) -> str:
    changes = [f"2^{steps[0]:g} from 1"]
    changes += [f"2^{steps[i + 1]:g} from {float(s[i + 1])!r}" for i in np.flatnonzero(np.diff(steps))]
    return "scale of a largest number of significand 1 to 2: " + ", ".join(changes[:6])
