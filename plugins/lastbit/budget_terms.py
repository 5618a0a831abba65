"""The terms of a budget as it is put together, and those of an epilogue: scalars, addends, conversion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import frexp, sqrt

import numpy as np
from numpy.typing import NDArray

from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Terms:
    """The bound while it is put together: error and magnitude before the output is rounded, and the reasons."""

    #: Bound of |computed - exact|, and of what the computed value is made of.
    error: Floats
    weight: Floats
    sigma: Floats | None
    unstatistical: str = ""
    formulas: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    #: Elements whose operands may round to an infinity before they are multiplied, or None.
    lost: NDArray[np.bool_] | None = None
    #: As Budget.terms.
    count: int = 0

    def add(self, error: Floats, formula: str, source: str) -> None:
        """One more cause of error."""
        self.error = self.error + error
        self.cite(formula, source)

    def cite(self, formula: str, source: str) -> None:
        """Name a term that is in the error."""
        self.formulas.append(formula)
        if source not in self.sources:
            self.sources.append(source)

    def add_scale(self, sigma: Floats) -> None:
        """The scale of one more independent rounding, unless there are no statistics."""
        if self.sigma is not None:
            self.sigma = np.hypot(self.sigma, sigma)

    def no_statistics(self, reason: str) -> None:
        """Give up the statistical scale, for the first reason."""
        self.sigma, self.unstatistical = None, self.unstatistical or reason


def add_epilogue(
    terms: Terms,
    accumulator: Accumulator,
    fmt: Format,
    k: int,
    addends: Mapping[str, Floats],
    alpha: float,
    beta: float,
) -> None:
    """alpha times the sum, plus beta * c, plus bias: each a rounding, in f32 unless the accumulator is another chain.

    An addend may also start the sum and pass all of its roundings.
    """
    u, name = _working(accumulator)
    eta = 0.0 if u == 0.0 else _eta(working(accumulator))
    if alpha != 1.0:
        terms.weight = terms.weight * abs(alpha)
        terms.error = terms.error * abs(alpha)
        terms.sigma = None if terms.sigma is None else terms.sigma * abs(alpha)
        _round_scaled(terms, "alpha", alpha, terms.weight, u, name, eta)
    added = np.zeros(())
    for part, values in addends.items():
        size = np.abs(values) * abs(beta) if part == "c" else np.abs(values)
        if part == "c" and beta != 1.0:
            _round_scaled(terms, "beta", beta, size, u, name, eta)
        added = added + size
    if addends:
        _add_addends(terms, accumulator, k, len(addends), added, u, name)
    if accumulator.engine == "integer" and fmt.kind != "integer":
        converted = np.where(terms.weight > 2.0**24, u * terms.weight, 0.0)
        terms.add(converted, "conversion: u_f32*|s|", "budgets.md 5")
        terms.add_scale(converted)


def _add_addends(
    terms: Terms, accumulator: Accumulator, k: int, count: int, added: Floats, u: float, name: str
) -> None:
    """`count` addends, of magnitudes `added` together: each costs an addition, and may start the sum instead."""
    through = accumulator.coefficient(k)
    cut = 2.0**-accumulator.fraction_bits if accumulator.fraction_bits else 0.0  # an addend aligned with products
    total = terms.weight + added
    terms.add(
        through * (added + terms.error) + (cut + count * u) * (total + terms.error),
        f"{count} addend{'s' * (count > 1)} c: {through:.4g}*|c| + {cut + count * u:.4g}*(|A||B|+|c|)",
        "budgets.md 5",
    )
    terms.add_scale(u * sqrt(k + 4.0 * count) * total)
    terms.weight = total


def working(accumulator: Accumulator) -> Accumulator:
    """What scalars and addends are computed in after the sum: a chain that rounds to nearest as it is, else f32."""
    is_plain = accumulator.engine == "exact" or (accumulator.engine == "chain" and not accumulator.truncates)
    return accumulator if is_plain else Accumulator.of("f32")


def _working(accumulator: Accumulator) -> tuple[float, str]:
    """Unit roundoff of what follows the sum, and the name of its format."""
    after = working(accumulator)
    return (0.0, "exact") if after.engine == "exact" else (after.unit, after.name)


def _eta(accumulator: Accumulator) -> float:
    """The smallest positive number of the accumulator's format."""
    return float(2.0 ** (accumulator.emin - accumulator.precision + 1))


def _round_scaled(terms: Terms, name: str, factor: float, size: Floats, u: float, working: str, eta: float) -> None:
    """A value of magnitude `size` (plus the error so far) times a scalar: the product is rounded, by u of itself and,
    where it is subnormal, by half an `eta` (Higham 2002, (2.8)); and so is the scalar itself if
    the working format does not hold it."""
    held = u == 0.0 or (frexp(factor)[0] / u).is_integer()
    roundings = 1 if held else 2
    terms.add_scale(u * size)
    product = size + terms.error
    terms.add(
        roundings * u * (1 + u) * product + np.where(product > 0, eta / 2, 0.0),
        f"{name}: {roundings}*u_{working}*|{name} x| + eta/2",
        "budgets.md 5",
    )
    if not held:
        terms.no_statistics(f"{name} = {factor!r} is rounded to {working}, the same for every result")
