"""What a GEMM result is judged by: operands, truth, budget and vacuity of a trial, kept for the next kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.gemm_budget import budget as gemm_budget
from lastbit.references import gemm
from lastbit.references.data import RECIPES, Operand, operands
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.suites.proofs import Formats, Proof, drawn_once, kept, proved, widened
from lastbit.suites.trial_sizes import resolved as sizes
from lastbit.suites.trials import Given, accumulator, as_broadcast, seed_of

__all__ = ["Given", "exact_truth", "inputs", "proof", "sizes"]

#: Truths and operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Products of the largest case that is kept: matrices of some megabytes.
LARGEST_KEPT = 2**28
#: Significand bits of operands whose products survive each input rounding whole; those not listed keep all. Of two
#: bf16 words the product of the low ones is dropped, so one word is left; of three, what exact data needs is kept.
INPUT_BITS = {"tf32": 11, "f32": 24, "bf16": 8, "f16": 11, "bf16x2": 8, "bf16x3": 8, "bf16x6": 24}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.data.operands, hashable."""

    recipe: str
    formats: Formats
    sizes: tuple[tuple[str, int], ...]
    seed: int
    exact_bits: int
    precision: int
    extras: tuple[str, ...]


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other data of the same recipe and sizes.

    Of a broadcast operand the first matrix is all there is; where beta is 0, c cannot be read.
    """
    drawn = Drawn(
        trial.case.recipe,
        tuple(trial.formats.items()),
        tuple(sizes(trial).items()),
        seed_of(trial, shift),
        accumulator(trial).exact_bits,
        _precision(trial),
        _extras(trial),
    )
    scalars = {name: float(value) for name, value in trial.case.options if name in ("alpha", "beta")}
    if prod(drawn_size for _, drawn_size in drawn.sizes) > LARGEST_KEPT:
        given = Given(_draw(drawn), scalars)
    else:
        given = Given(_operands(drawn), scalars, drawn)
    if scalars.get("beta") == 0.0:
        given = given.changed(c=_unreadable(given.operands["c"]))
    return as_broadcast(trial, given)


def exact_truth(given: Given) -> Truth:
    """The exact result of the case on `given`."""
    return _truth(given, 0.0)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`.

    A radius of 2^-8 of one rounding of the accumulator is enough for the truth: the budget carries it.
    """
    resolution = 2.0**-8 * _roundoff(trial)
    return widened(_proof(given, trial.contract, tuple(trial.formats.items()), resolution), trial)


def _precision(trial: Trial) -> int:
    """Significand bits of the operands that the products keep; exact recipes alone ask for them."""
    if not RECIPES[trial.case.recipe].exact:
        return 64
    return min(INPUT_BITS.get(trial.contract.input_rounding or "", 64), accumulator(trial).input_precision or 64)


@drawn_once(KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    return _draw(drawn)


def _draw(drawn: Drawn) -> Mapping[str, Operand]:
    return operands(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.seed,
        exact_bits=drawn.exact_bits,
        precision=drawn.precision,
        extras=drawn.extras,
    )


@kept(KEPT)
def _truth(given: Given, resolution: float) -> Truth:
    extras = {name: given.operands[name].values for name in ("c", "bias") if name in given.operands}
    alpha, beta = _factors(given)
    a, b = given.operands["a"].values, given.operands["b"].values
    return gemm.truth(a, b, alpha=alpha, beta=beta, resolution=resolution, **extras)


@kept(KEPT)
def _proof(given: Given, contract: Contract, formats: Formats, resolution: float) -> Proof:
    truth = _truth(given, resolution)
    alpha, beta = _factors(given)
    budget = gemm_budget(contract, dict(formats), given.operands, truth, alpha=alpha, beta=beta)
    return proved(truth, budget, dict(formats), contract)


def _unreadable(operand: Operand) -> Operand:
    """The same shape filled with NaN, or with the largest value where the format has none."""
    fmt = Format.of(operand.format)
    return Operand.of(np.full(operand.values.shape, np.nan if fmt.has_nan else fmt.max), operand.format)


def _factors(given: Given) -> tuple[float, float]:
    return given.options.get("alpha", 1.0), given.options.get("beta", 1.0 if "c" in given.operands else 0.0)


def _roundoff(trial: Trial) -> float:
    """One relative rounding of the accumulator, or of the output where that is finer."""
    step = accumulator(trial).coefficient(2) / 2
    return min(step, Format.of(trial.formats["out"]).u) if step else Format.of(trial.formats["out"]).u


def _extras(trial: Trial) -> tuple[str, ...]:
    named = dict(trial.case.options)
    return tuple(extra for extra in ("c", "bias") if extra in named or (extra == "c" and "beta" in named))
