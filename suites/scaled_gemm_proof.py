"""What a scaled product is judged by: operands, truth, budget and vacuity of a trial, kept for the next kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from lastbit.budget import Budget
from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Problem, truth
from lastbit.references.scaled_gemm_data import ScaledData, scaled
from lastbit.references.scaling import Scaling
from lastbit.references.truth import Truth
from lastbit.scaled_gemm_budget import budget as scaled_budget
from lastbit.suites.gemm_proof import FAIR, INPUT_BITS, LONGEST, Proof, _within_share
from lastbit.suites.trials import accumulator
from lastbit.vacuity import vacuity

#: Truths and operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Tile of a dimension that neither the kernel nor its scaling names.
TILE = 32
#: Exact sums end in f32 whatever accumulated them: its integers.
EXACT_BITS = 24


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.scaled_gemm_data.scaled, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    scalings: tuple[Scaling | None, Scaling | None]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    exact_bits: int
    precision: int
    bias: bool


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, what they are worth, and what drew them, under which proofs are kept."""

    operands: Mapping[str, Operand]
    problem: Problem
    drawn: Drawn | None = None


def scalings(trial: Trial) -> tuple[Scaling | None, Scaling | None]:
    """The scalings of a and of b transposed, of the trial's formats; None for a plain operand."""
    chosen = trial.kernel.scaling
    named = [chosen.get(name) if isinstance(chosen, Mapping) else chosen for name in "ab"]
    a, b = (
        None if one is None else replace(Scaling.of(one), element=trial.formats[name])
        for name, one in zip("ab", named, strict=True)
    )
    return a, b


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers: words by the kernel's tile or its scaling's groups; rounded up to its multiples."""
    found = {name: _size(trial, name, size) for name, size in trial.case.sizes}
    return {name: _rounded_up(size, trial.kernel.multiple.get(name, 1)) for name, size in found.items()}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other data of the same recipe and sizes."""
    chosen = accumulator(trial)
    kept = 24 if trial.contract.input_rounding == "f32" else INPUT_BITS.get(trial.contract.input_rounding or "", 64)
    drawn = Drawn(
        trial.case.recipe,
        tuple(trial.formats.items()),
        scalings(trial),
        tuple(sizes(trial).items()),
        trial.seed + 7919 * shift,
        min(chosen.exact_bits, EXACT_BITS),
        min(kept, chosen.input_precision or 64),
        "bias" in dict(trial.case.options),
    )
    data = _data(drawn)
    return Given(data.operands, data.problem, drawn)


def exact_truth(given: Given) -> Truth:
    """The exact result of `given`."""
    return truth(given.problem) if given.drawn is None else _kept_truth(given.drawn, 0.0)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`.

    A radius of 2^-8 of one rounding of the result is enough for the truth: the budget carries it.
    """
    resolution = 2.0**-8 * min(2.0**-24, Format.of(trial.formats["out"]).u)
    formats = tuple(trial.formats.items())
    if given.drawn is None:
        proved = _weigh(
            trial.contract, formats, scalings(trial), given.problem, truth(given.problem, resolution=resolution)
        )
    else:
        proved = _kept_proof(trial.contract, formats, given.drawn, resolution)
    return _widened(proved, trial) if "budget_factor" in trial.settings else proved


def _widened(proved: Proof, trial: Trial) -> Proof:
    """The proof with the override of budgets.toml that applies to the trial."""
    factor, why = trial.settings["budget_factor"], trial.settings["budget_why"]
    formula = f"{factor:g} * ({proved.budget.formula}), since {why}"
    budget = replace(proved.budget, allowed=factor * proved.budget.allowed, formula=formula)
    return _shown(trial.contract, trial.formats["out"], proved.truth, budget)


@lru_cache(maxsize=KEPT)
def _data(drawn: Drawn) -> ScaledData:
    return scaled(
        drawn.recipe,
        dict(drawn.formats),
        drawn.scalings,
        dict(drawn.sizes),
        drawn.seed,
        exact_bits=drawn.exact_bits,
        precision=drawn.precision,
        bias=drawn.bias,
    )


@lru_cache(maxsize=KEPT)
def _kept_truth(drawn: Drawn, resolution: float) -> Truth:
    return truth(_data(drawn).problem, resolution=resolution)


def _weigh(
    contract: Contract,
    formats: tuple[tuple[str, str], ...],
    chosen: tuple[Scaling | None, Scaling | None],
    problem: Problem,
    proved: Truth,
) -> Proof:
    a, b = (None if one is None else one.scale_format for one in chosen)
    budget = scaled_budget(contract, dict(formats), (a, b), problem, proved)
    return _shown(contract, dict(formats)["out"], proved, budget)


def _shown(contract: Contract, out: str, proved: Truth, budget: Budget) -> Proof:
    return Proof(proved, budget, vacuity(Format.of(out), proved, budget, contract))


@lru_cache(maxsize=KEPT)
def _kept_proof(contract: Contract, formats: tuple[tuple[str, str], ...], drawn: Drawn, resolution: float) -> Proof:
    return _weigh(contract, formats, drawn.scalings, _data(drawn).problem, _kept_truth(drawn, resolution))


def _size(trial: Trial, name: str, size: int | str) -> int:
    if isinstance(size, int):
        return size
    if size in ("long", "fair"):
        return _within_share(accumulator(trial), LONGEST[trial.tier] if size == "long" else FAIR)
    tile = trial.kernel.tile.get(name) or _group(trial, name)
    return {"tile": tile, "overtile": tile + 1, "undertile": tile - 1, "spanning": 2 * tile + 1}[size]


def _group(trial: Trial, name: str) -> int:
    """Numbers along a dimension that share a scale: the largest of both operands', or TILE."""
    a, b = scalings(trial)
    found = []
    for scaling, rows in ((a, "m"), (b, "n")):
        if scaling is not None and scaling.granularity == "block" and name in (rows, "k"):
            found.append(scaling.block[0] if name == rows else scaling.block[1])
        if scaling is not None and scaling.granularity == "group" and name == "k":
            found.append(scaling.group)
    return max(found, default=TILE)


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
