"""Vacuity: what a budget would let pass, shown by offering it counterfeit answers."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lastbit.acceptance import RIGHT, classify, elements_at
from lastbit.budget import Budget
from lastbit.references.formats import Format

if TYPE_CHECKING:
    from lastbit.contract import Contract
    from lastbit.references.truth import Truth

Floats = NDArray[np.float64]
Counterfeit = Callable[[Floats, NDArray[np.int64]], Floats]

#: Elements offered first; nearly every counterfeit is refused among them.
FIRST = 512
#: Elements offered at a time after that.
PIECE = 1 << 16


def vacuity(fmt: "str | Format", truth: "Truth", budget: Budget, contract: "Contract") -> str:
    """The counterfeits that `budget` would accept as an output for `truth`, as a text; "" if it refuses all.

    Offered, each rounded to the output format as a kernel would return it: zeros, the truth's mean everywhere, the
    truth's elements in another order, doubled, negated, NaN everywhere, and 2 % too large. A counterfeit that equals
    the rounded truth in every element (the double of zero, the permutation of a constant) is the right answer and is
    not offered. A budget that says nothing (no elements) is not vacuous: there is nothing to get wrong.
    """
    fmt = Format.of(fmt)
    x = truth.hi.reshape(-1)
    names = [name for name in COUNTERFEITS if fmt.has_nan or name != "NaN"]
    wrong = np.zeros(len(names), bool)
    with np.errstate(all="ignore"):
        for index in _pieces(x.size):
            refused, differs = _offer(names, index, fmt, truth, budget, contract)
            names = [name for name, no in zip(names, refused, strict=True) if not no]
            wrong = (wrong | differs)[~refused]
            if not names:
                return ""
    accepted = [name for name, differs in zip(names, wrong, strict=True) if differs]
    return f"the budget would also accept {_listed(accepted)}" if accepted else ""


#: What a counterfeit returns at flat indices `i`, given the exact results `x`; rounded to the format afterwards.
COUNTERFEITS: dict[str, Counterfeit] = {
    "zeros": lambda x, i: np.zeros(i.size),
    "a constant": lambda x, i: np.full(i.size, _mean(x)),
    "a shuffle": lambda x, i: x[shuffled(i, x.size)],
    "the double": lambda x, i: 2.0 * x[i],
    "the opposite sign": lambda x, i: -x[i],
    "NaN": lambda x, i: np.full(i.size, np.nan),
    "2 % too large": lambda x, i: 1.02 * x[i],
}


def shuffled(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where each index of range(size) goes in a permutation without fixed points: a step by the golden section."""
    step = max(1, int(size * 0.381966)) % max(1, size)
    return (index + step) % size


def _mean(x: Floats) -> float:
    sample = x[_spread(x.size)]
    sample = sample[np.isfinite(sample)]
    mean = float(sample.mean()) if sample.size else 0.0
    return mean if np.isfinite(mean) else 0.0


def _offer(
    names: list[str], index: NDArray[np.int64], fmt: Format, truth: "Truth", budget: Budget, contract: "Contract"
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each counterfeit at `index`: whether the judge refuses an element, and whether one is not right."""
    x, lo, allowed, slack = elements_at(index, truth, budget)
    right = _rounded(fmt, x, lo, contract)
    offered = np.stack([COUNTERFEITS[name](truth.hi.reshape(-1), index) for name in names])
    y = _rounded(fmt, offered, None, contract)
    # A few NaN and infinities in the truth, or moved by a counterfeit, do not refuse on behalf of the bound.
    nothing_else = np.array([[name == "NaN"] for name in names])
    shown = np.where(nothing_else, ~np.isnan(x), np.isfinite(x) & np.isfinite(offered))
    y = np.where(shown, y, right)
    x, lo, allowed = (np.tile(array, len(names)) for array in (x, lo, allowed))
    slack = None if slack is None else np.tile(slack, len(names))
    kinds = classify(y.reshape(-1), x, lo, allowed, slack, budget.flush_below, fmt, contract).reshape(y.shape)
    return (kinds != RIGHT).any(axis=1), ((y != right) & ~(np.isnan(y) & np.isnan(right))).any(axis=1)


def _spread(size: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, size - 1, min(size, FIRST)).astype(np.int64))


def _pieces(size: int) -> Iterator[NDArray[np.int64]]:
    """Indices to look at: a few spread over all, then all, piece by piece."""
    yield _spread(size)
    if size > FIRST:
        for start in range(0, size, PIECE):
            yield np.arange(start, min(start + PIECE, size))


def _rounded(fmt: Format, x: Floats, lo: Floats | None, contract: "Contract") -> Floats:
    return fmt.round(x, lo, overflow=contract.overflow, nan=None if fmt.has_nan else "zero")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
