"""Model confirmation: the simulator with a datasheet's answers against the kernel, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.suites.probes.access import Access, Shape
from lastbit.suites.probes.model import Model
from lastbit.suites.probes.span import Array, Span

#: Sums that a confirmation compares at least.
LEAST = 10_000
#: Batches of near ties, each in other slots.
NEAR_TIES = 6


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What comparing a model with its kernel showed."""

    #: Sums compared, and those whose bits differed.
    sums: int
    differing: int
    #: The first sum that differed, or why none was compared; "" of a confirmed model.
    counterexample: str = ""
    #: Models next to this one that the compared sums refute, and those that they do not: nothing tells them apart.
    refuted: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Whether every sum that was compared was equal, and enough were."""
        return self.sums >= LEAST and not self.differing


@dataclass(frozen=True, slots=True)
class Batch:
    """Operands of one product of the shape, by the way they were drawn."""

    family: str
    a: Array
    b: Array
    c: Array | None


def unconfirmed(reason: str) -> Confirmation:
    """The confirmation of a model that there is none of."""
    return Confirmation(0, 0, reason)


def confirm(access: Access, model: Model, span: Span, seed: int = 0) -> Confirmation:
    """Compare `model` with the kernel on 10,000 sums or more of several families, and with the models next to it."""
    sums = differing = 0
    counterexample = ""
    refuted: set[str] = set()
    near = neighbours(model)
    for batch in batches(access, span, seed, model.accumulator.precision):
        got = access.product(batch.a, batch.b, batch.c)
        wanted = model.product(batch.a, batch.b, batch.c)
        wrong = ~_same(got, wanted) & access.alike
        sums, differing = sums + int(access.alike.sum()), differing + int(wrong.sum())
        if wrong.any() and not counterexample:
            counterexample = _told(batch, got, wanted, wrong)
        for name, other in near.items():
            if name not in refuted and not _same(other.product(batch.a, batch.b, batch.c), wanted).all():
                refuted.add(name)
    alike = tuple(name for name in near if name not in refuted)
    return Confirmation(sums, differing, counterexample, tuple(name for name in near if name in refuted), alike)


def batches(access: Access, span: Span, seed: int = 0, bits: int = 24) -> list[Batch]:
    """Operands of every family, as often as it takes to make LEAST sums, and near ties of sums of so many bits."""
    shape = access.shape
    rounds = -(-LEAST // (int(access.alike.sum()) * len(FAMILIES)))
    drawn = []
    for round in range(rounds):
        for index, (family, draw) in enumerate(FAMILIES.items()):
            rng = np.random.default_rng([seed, round, index])
            a, b = draw(rng, shape, span)
            c = _addend(rng, shape, span, family) if access.addend and round % 2 == 0 else None
            drawn.append(Batch(family, span.a.round(a), span.b.round(b), c))
    for index in range(NEAR_TIES if shape.k >= 4 else 0):
        a, b = _near_ties(np.random.default_rng([seed, index]), shape, span, bits)
        drawn.append(Batch("near ties", span.a.round(a), span.b.round(b), None))
    return drawn


def neighbours(model: Model) -> dict[str, Model]:
    """Models that differ from `model` in one parameter, by what differs."""
    own = model.accumulator
    changes: dict[str, dict[str, object]] = {"flush": {"flush": not own.flush}}
    other = {"nearest-even": "toward-zero"}.get(own.rounding, "nearest-even")
    if own.precision < 53:
        changes[f"rounding {other}"] = {"rounding": other}
    if own.engine == "chain":
        if own.precision < 53:
            changes |= {f"precision {own.precision + step}": {"precision": own.precision + step} for step in (-1, 1)}
        changes["fma"] = {"fma": not own.fma}
    else:
        changes |= {f"F {own.fraction_bits + step}": {"fraction_bits": own.fraction_bits + step} for step in (-1, 1)}
        changes |= {f"g {terms}": {"terms": terms} for terms in (own.terms // 2, own.terms * 2) if terms > 1}
        aligned = "nearest-even" if own.alignment == "toward-zero" else "toward-zero"
        changes[f"alignment {aligned}"] = {"alignment": aligned}
    return {name: replace(model, accumulator=_changed(own, fields)) for name, fields in changes.items()}


def _changed(own: Accumulator, fields: dict[str, object]) -> Accumulator:
    return replace(own, **fields)  # type: ignore[arg-type]


def _same(x: Array, y: Array) -> NDArray[np.bool_]:
    """Where two results have the same bits; every NaN is the same."""
    same: NDArray[np.bool_] = (x == y) | (np.isnan(x) & np.isnan(y))
    return same


def _told(batch: Batch, got: Array, wanted: Array, wrong: NDArray[np.bool_]) -> str:
    """The first sum that differs, with its operands, zeros left out."""
    i, j = (int(index) for index in np.argwhere(wrong)[0])
    x, y = batch.a[i], batch.b[:, j]
    used = np.flatnonzero((x != 0) & (y != 0))[:16]
    terms = " + ".join(f"{float(x[slot]).hex()}*{float(y[slot]).hex()}" for slot in used)
    c = "" if batch.c is None else f" + {float(batch.c[i, j]).hex()}"
    return (
        f"{batch.family} ({i}, {j}): the kernel gives {float(got[i, j]).hex()}, the model {float(wanted[i, j]).hex()} "
        f"for {terms}{c}"
    )


def _normal(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    return rng.standard_normal((shape.m, shape.k)), rng.standard_normal((shape.k, shape.n))


def _positive(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    return rng.random((shape.m, shape.k)), rng.random((shape.k, shape.n))


def _spread(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    """Exponents far apart: terms below one another's last bits."""
    return (
        _scaled(rng, (shape.m, shape.k), span.a, 0.75),
        _scaled(rng, (shape.k, shape.n), span.b, 0.75),
    )


def _ties(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    """Two significant bits: what is beyond the last bit of a sum is often a half of it."""
    a, b = _scaled(rng, (shape.m, shape.k), span.a, 0.5), _scaled(rng, (shape.k, shape.n), span.b, 0.5)
    return _cut(a), _cut(b)


def _cancelling(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    """Few of the largest terms and their negatives, side by side or far apart, among terms of every smaller size.

    What the large ones leave of the others is all that comes back: the fraction bits, and how terms are cut to them.
    """
    wide = rng.random() < 0.5
    a, b = (
        _scaled(rng, size, fmt, 1.0) if wide else _scaled(rng, size, fmt, 0.5) * 2.0 ** -(_reach(fmt) // 2)
        for size, fmt in (((shape.m, shape.k), span.a), ((shape.k, shape.n), span.b))
    )
    one = rng.choice(shape.k // 2, max(1, shape.k // 16), replace=False) * 2
    other = one + 1 if rng.random() < 0.5 else rng.permutation(one + 1)
    a[:, one] = np.copysign(2.0 ** (_reach(span.a) // (1 if wide else 2)), a[:, one])
    b[one] = np.copysign(2.0 ** (_reach(span.b) // (1 if wide else 2)), b[one])
    a[:, other], b[other] = -a[:, one], b[one]
    return a, b


def _sparse(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    """Few terms of one sum, wide apart: near ties, with a sticky rest."""
    a, b = _ties(rng, shape, span)
    return a * (rng.random((shape.m, shape.k)) < 0.12), b


def _tiny(rng: np.random.Generator, shape: Shape, span: Span) -> tuple[Array, Array]:
    """Operands of which some are subnormal."""
    a = _scaled(rng, (shape.m, shape.k), span.a, 0.4) * span.a.min_normal * 4
    return a, _scaled(rng, (shape.k, shape.n), span.b, 0.5)


def _near_ties(rng: np.random.Generator, shape: Shape, span: Span, bits: int) -> tuple[Array, Array]:
    """A number, a unit of its last bit or none, and half a unit and a trace, in slots; in half of them taken away.

    (1 + u)(1 - u) is less than 1 by u^2, which decides the tie where the sum is rounded once, and is lost where it is
    rounded twice.
    """
    slots = rng.choice(shape.k, 4, replace=False)
    first, second, third, last = np.sort(slots) if rng.random() < 0.75 else slots
    a, b = np.zeros((shape.m, shape.k)), np.zeros((shape.k, shape.n))
    scale, half = 2.0 ** rng.integers(-2, 3, shape.n), bits // 2
    exponent = rng.integers(0, 4, shape.m)
    trace_a, trace_b = (
        1 + 2.0 ** (1 - fmt.precision) * rng.integers(-1, 2, size)
        for fmt, size in ((span.a, shape.m), (span.b, shape.n))
    )
    a[:, first], b[first] = np.ldexp(1 + rng.random(shape.m), exponent) * rng.choice([-1.0, 1.0], shape.m), scale
    a[:, second], b[second] = np.ldexp(rng.integers(0, 2, shape.m), exponent - (bits - 1 - half)), scale * 2.0**-half
    a[:, third] = np.ldexp(trace_a, exponent - (bits - half)) * rng.choice([-1.0, 1.0], shape.m)
    b[third] = scale * 2.0**-half * trace_b
    if rng.random() < 0.5:
        a[:, last], b[last] = -span.a.round(a[:, first]), scale
    return a, b


FAMILIES: dict[str, Callable[[np.random.Generator, Shape, Span], tuple[Array, Array]]] = {
    "normal": _normal,
    "positive": _positive,
    "spread": _spread,
    "ties": _ties,
    "cancelling": _cancelling,
    "sparse": _sparse,
    "tiny": _tiny,
}


def _scaled(rng: np.random.Generator, size: tuple[int, int], fmt: Format, share: float) -> Array:
    """Random signs and significands, exponents over `share` of what the format and f32's sums leave."""
    reach = int(_reach(fmt) * share)
    significand = (1 + rng.random(size)) * rng.choice([-1.0, 1.0], size)
    scaled: Array = np.ldexp(significand, rng.integers(-reach, reach, size, endpoint=True))
    return scaled


def _reach(fmt: Format) -> int:
    """The largest exponent of drawn numbers, the least but for its sign."""
    return min(-fmt.emin, fmt.emax, 24)


def _cut(x: Array) -> Array:
    """`x` with two significant bits."""
    mantissa, exponent = np.frexp(x)
    cut: Array = np.ldexp(np.trunc(mantissa * 4) / 4, exponent)
    return cut


def _addend(rng: np.random.Generator, shape: Shape, span: Span, family: str) -> Array:
    scale = span.a.min_normal if family == "tiny" else 1.0
    return span.out.round(rng.standard_normal((shape.m, shape.n)) * scale)
