"""What the checks of dequantizers share: sizes in whole bytes, quantized operands, and the judgement of the values."""

from collections.abc import Mapping

from lastbit.case import Trial
from lastbit.dequantize_judge import judge_dequantized
from lastbit.harness import Obtained
from lastbit.references.data import Operand
from lastbit.references.dequantize_data import RECIPES, applicable, quantized
from lastbit.references.packing import UNIT
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import parts
from lastbit.scaled_storage import held, of_operands
from lastbit.suites import quantize_trial
from lastbit.suites.comparison import with_note
from lastbit.suites.proofs import drawn_once
from lastbit.suites.quantize_trial import scaling
from lastbit.suites.trials import Given, check_recipe, lacking, layouts, noted, seed_of, unplaceable
from lastbit.verdict import Verdict

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 48


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers; rows fill whole bytes, for a kernel cannot know of fewer codes."""
    found, chosen = quantize_trial.sizes(trial), scaling(trial)
    unit = chosen.group if chosen.packing == "nibbles_halves" else UNIT[chosen.packing]
    down = dict(trial.case.sizes)["n"] == "undertile"
    return {**found, "n": found["n"] // unit * unit if down else -(-found["n"] // unit) * unit}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other codes and scales of the same recipe and sizes."""
    resolved = tuple(sizes(trial).items())
    out, chosen = trial.formats["out"], scaling(trial)
    return Given(_operands(trial.case.recipe, out, chosen, resolved, seed_of(trial, shift)))


def judge(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on every number that came back."""
    if got.fault is not None:
        return got.fault
    chosen = scaling(trial)
    quantized = of_operands(given.operands, chosen, got.codes.shape)
    verdict = judge_dequantized(got.codes, trial.formats["out"], quantized, chosen, trial.contract)
    return with_note(noted(trial, verdict, got), "scaling", chosen.name)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe and layout suit this kernel, else why they do not."""
    case, chosen = trial.case, scaling(trial)
    check_recipe(trial, RECIPES)
    if not applicable(case.recipe, trial.formats["out"], chosen):
        return f"the scaling has no {case.recipe} data"
    absent = layouts(trial).keys() - parts(chosen).keys()
    if absent:
        return f"{chosen.name} has no {', '.join(sorted(absent))}"
    return lacking(trial, {"batch"} & dict(case.sizes).keys()) or unplaceable(trial)


def is_short(trial: Trial) -> bool:
    """Whether some numbers fill no group of the scaling."""
    return any(size % quantize_trial.whole(trial, name) for name, size in sizes(trial).items())


@drawn_once(KEPT)
def _operands(
    recipe: str, out: str, chosen: Scaling, sizes: tuple[tuple[str, int], ...], seed: int
) -> Mapping[str, Operand]:
    return held(quantized(recipe, out, chosen, dict(sizes), seed), chosen)
