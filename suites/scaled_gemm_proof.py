"""What a scaled product is judged by: operands, truth, budget and vacuity of a trial, kept for the next kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.references import scaled_gemm
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.scaled_gemm import Problem
from lastbit.references.scaled_gemm_data import problem, scaled
from lastbit.references.scaling import Scaling
from lastbit.references.truth import Truth
from lastbit.scaled_gemm_budget import budget as scaled_budget
from lastbit.scaled_operands import product_scalings
from lastbit.suites.gemm_proof import INPUT_BITS
from lastbit.suites.proofs import Formats, Proof, drawn_once, kept, proved, widened
from lastbit.suites.trial_sizes import resolved
from lastbit.suites.trials import Given, accumulator, seed_of

__all__ = ["Given", "exact_truth", "inputs", "problem_of", "proof", "scalings", "sizes"]

#: Truths and operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Exact sums end in f32 whatever accumulated them: its integers.
EXACT_BITS = 24

Scalings = tuple[Scaling | None, Scaling | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.scaled_gemm_data.scaled, hashable."""

    recipe: str
    formats: Formats
    scalings: Scalings
    sizes: tuple[tuple[str, int], ...]
    seed: int
    exact_bits: int
    precision: int
    bias: bool


def scalings(trial: Trial) -> Scalings:
    """The scalings of a and of b transposed, of the trial's formats; None for a plain operand."""
    a, b = (
        None if one is None else replace(one, element=trial.formats[name])
        for name, one in zip("ab", product_scalings(trial.kernel), strict=True)
    )
    return a, b


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers: words by the kernel's tile or its scaling's groups; rounded up to its multiples."""
    kernel = trial.kernel
    tile = {**_groups(scalings(trial)), **kernel.tile}
    found = resolved(replace(trial, kernel=replace(kernel, tile=tile)))
    return {name: _rounded_up(size, kernel.multiple.get(name, 1)) for name, size in found.items()}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other data of the same recipe and sizes."""
    chosen = accumulator(trial)
    drawn = Drawn(
        trial.case.recipe,
        tuple(trial.formats.items()),
        scalings(trial),
        tuple(sizes(trial).items()),
        seed_of(trial, shift),
        min(chosen.exact_bits, EXACT_BITS),
        min(INPUT_BITS.get(trial.contract.input_rounding or "", 64), chosen.input_precision or 64),
        "bias" in dict(trial.case.options),
    )
    return Given(_operands(drawn), {}, drawn)


def problem_of(trial: Trial, given: Given) -> Problem:
    """What the operands stand for."""
    return problem(given.operands, *_elements(trial))


def exact_truth(trial: Trial, given: Given) -> Truth:
    """The exact result of the case on `given`."""
    return _truth(given, *_elements(trial), 0.0)


def proof(trial: Trial, given: Given) -> Proof:
    """Truth, budget and vacuity of the case on `given`.

    A radius of 2^-8 of one rounding of the result is enough for the truth: the budget carries it.
    """
    resolution = 2.0**-8 * min(2.0**-24, Format.of(trial.formats["out"]).u)
    return widened(_proof(given, trial.contract, tuple(trial.formats.items()), *_elements(trial), resolution), trial)


@drawn_once(KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
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


def _elements(trial: Trial) -> tuple[tuple[str, str], Scalings, int]:
    return (trial.formats["a"], trial.formats["b"]), scalings(trial), sizes(trial)["k"]


@kept(KEPT)
def _truth(given: Given, elements: tuple[str, str], chosen: Scalings, k: int, resolution: float) -> Truth:
    return scaled_gemm.truth(problem(given.operands, elements, chosen, k), resolution=resolution)


@kept(KEPT)
def _proof(
    given: Given,
    contract: Contract,
    formats: Formats,
    elements: tuple[str, str],
    chosen: Scalings,
    k: int,
    resolution: float,
) -> Proof:
    truth = _truth(given, elements, chosen, k, resolution)
    a, b = (None if one is None else one.scale_format for one in chosen)
    one = problem(given.operands, elements, chosen, k)
    return proved(truth, scaled_budget(contract, dict(formats), (a, b), one, truth), dict(formats), contract)


def _groups(chosen: Scalings) -> dict[str, int]:
    """Numbers along each dimension that share a scale, the larger of both operands'."""
    found: dict[str, int] = {}
    for scaling, rows in zip(chosen, "mn", strict=True):
        if scaling is not None and scaling.granularity == "block":
            found |= {rows: scaling.block[0], "k": max(scaling.block[1], found.get("k", 0))}
        if scaling is not None and scaling.granularity == "group":
            found["k"] = max(scaling.group, found.get("k", 0))
    return found


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
