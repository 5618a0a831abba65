"""What a GEMM result is judged by: operands, truth, budget and vacuity of a trial, kept for the next kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.gemm_budget import budget as gemm_budget
from lastbit.references import gemm
from lastbit.references.accumulators import Accumulator
from lastbit.references.data import Operand, operands
from lastbit.references.formats import Format
from lastbit.references.truth import Truth
from lastbit.suites.trials import accumulator
from lastbit.vacuity import vacuity

#: Truths and operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Products of the largest case that is kept: matrices of some megabytes.
LARGEST_KEPT = 2**28
#: A sum is "long" as far as its bound stays below this share of sum |a_i b_i|: a quarter of the 2 % that every budget
#: must tell from the truth (vacuity.py).
LONG_SHARE = 0.005
FAIR, SHORTEST = 129, 4
LONGEST = {"smoke": 2048, "standard": 8192, "full": 16384}
#: Significand bits of operands whose products survive each input rounding whole; those not listed keep all. Of two
#: bf16 words the product of the low ones is dropped, so one word is left; of three, what exact data needs is kept.
INPUT_BITS = {"tf32": 11, "bf16": 8, "f16": 11, "bf16x2": 8, "bf16x3": 8, "bf16x6": 24}


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, and the arguments that drew them, under which proofs are kept for the next kernel."""

    operands: Mapping[str, Operand]
    drawn: "Drawn | None" = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.data.operands, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    exact_bits: int
    precision: int
    extras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a result is judged by: the truth, the budget, and the counterfeit that the budget would accept, if any."""

    truth: Truth
    budget: Budget
    hole: str


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile and contract."""
    return {name: _size(trial, name, size) for name, size in trial.case.sizes}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other data of the same recipe and sizes."""
    drawn = Drawn(
        trial.case.recipe,
        tuple(trial.formats.items()),
        tuple(sizes(trial).items()),
        trial.seed + 7919 * shift,
        accumulator(trial).exact_bits,
        min(INPUT_BITS.get(trial.contract.input_rounding or "", 64), accumulator(trial).input_precision or 64),
        _extras(trial),
    )
    if prod(drawn_size for _, drawn_size in drawn.sizes) > LARGEST_KEPT:
        return Given(_operands.__wrapped__(drawn))
    return Given(_operands(drawn), drawn)


def scalars(trial: Trial) -> dict[str, float]:
    """alpha and beta as the case gives them."""
    return {name: float(value) for name, value in trial.case.options if name in ("alpha", "beta")}


def exact_truth(trial: Trial, given: Given) -> Truth:
    """The exact result of the case on `given`."""
    alpha, beta = _factors(trial)
    if given.drawn is None:
        return _prove(given.operands, alpha, beta, 0.0)
    return _kept_truth(given.drawn, alpha, beta, 0.0)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`.

    A radius of 2^-8 of one rounding of the accumulator is enough for the truth: the budget carries it.
    """
    alpha, beta = _factors(trial)
    resolution = 2.0**-8 * _roundoff(trial)
    formats = tuple(trial.formats.items())
    if given.drawn is None:
        truth = _prove(given.operands, alpha, beta, resolution)
        proved = _weigh(trial.contract, formats, given.operands, truth, alpha, beta)
    else:
        proved = _kept_proof(trial.contract, formats, given.drawn, alpha, beta, resolution)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]
    formula = f"{factor:g} * ({proved.budget.formula}), since {why}"
    budget = replace(proved.budget, allowed=factor * proved.budget.allowed, formula=formula)
    hole = vacuity(Format.of(trial.formats["out"]), proved.truth, budget, trial.contract)
    return Proof(proved.truth, budget, hole)


def _factors(trial: Trial) -> tuple[float, float]:
    chosen = scalars(trial)
    return chosen.get("alpha", 1.0), chosen.get("beta", 1.0 if "c" in _extras(trial) else 0.0)


@lru_cache(maxsize=KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    return operands(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.seed,
        exact_bits=drawn.exact_bits,
        precision=drawn.precision,
        extras=drawn.extras,
    )


def _prove(given: Mapping[str, Operand], alpha: float, beta: float, resolution: float) -> Truth:
    c, bias = given.get("c"), given.get("bias")
    return gemm.truth(
        given["a"].values,
        given["b"].values,
        c=None if c is None else c.values,
        bias=None if bias is None else bias.values,
        alpha=alpha,
        beta=beta,
        resolution=resolution,
    )


@lru_cache(maxsize=KEPT)
def _kept_truth(drawn: Drawn, alpha: float, beta: float, resolution: float) -> Truth:
    return _prove(_operands(drawn), alpha, beta, resolution)


def _weigh(
    contract: Contract,
    formats: tuple[tuple[str, str], ...],
    given: Mapping[str, Operand],
    proved: Truth,
    alpha: float,
    beta: float,
) -> Proof:
    budget = gemm_budget(contract, dict(formats), given, proved, alpha=alpha, beta=beta)
    return Proof(proved, budget, vacuity(Format.of(dict(formats)["out"]), proved, budget, contract))


@lru_cache(maxsize=KEPT)
def _kept_proof(
    contract: Contract,
    formats: tuple[tuple[str, str], ...],
    drawn: Drawn,
    alpha: float,
    beta: float,
    resolution: float,
) -> Proof:
    return _weigh(contract, formats, _operands(drawn), _kept_truth(drawn, alpha, beta, resolution), alpha, beta)


def _roundoff(trial: Trial) -> float:
    """One relative rounding of the accumulator, or of the output where that is finer."""
    step = accumulator(trial).coefficient(2) / 2
    return min(step, Format.of(trial.formats["out"]).u) if step else Format.of(trial.formats["out"]).u


def _extras(trial: Trial) -> tuple[str, ...]:
    named = dict(trial.case.options)
    return tuple(extra for extra in ("c", "bias") if extra in named or (extra == "c" and "beta" in named))


def _size(trial: Trial, name: str, size: int | str) -> int:
    if isinstance(size, int):
        return size
    if size in ("long", "fair"):
        return _within_share(accumulator(trial), LONGEST[trial.tier] if size == "long" else FAIR)
    tile = trial.kernel.tile.get(name, 32)
    return {"tile": tile, "overtile": tile + 1, "undertile": tile - 1}[size]


@lru_cache
def _within_share(chosen: Accumulator, longest: int) -> int:
    k = longest
    while k > SHORTEST and chosen.coefficient(k) > LONG_SHARE:
        k //= 2
    return k
