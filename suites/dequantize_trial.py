"""What the checks of dequantizers share: sizes in whole bytes, quantized operands, and the judgement of the values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from lastbit.case import Trial
from lastbit.dequantize_judge import judge_dequantized
from lastbit.harness import Obtained, call
from lastbit.references.data import Operand
from lastbit.references.dequantize_data import applicable, quantized
from lastbit.references.packing import UNIT
from lastbit.references.quantize import Quantized
from lastbit.references.scaling import Scaling
from lastbit.scaled_storage import held
from lastbit.suites import quantize_trial
from lastbit.suites.quantize_trial import scaling
from lastbit.suites.trials import layouts, noted
from lastbit.verdict import Verdict

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 48


@dataclass(frozen=True, slots=True)
class Given:
    """The operands of one call, and the quantized tensor that they hold."""

    quantized: Quantized
    operands: Mapping[str, Operand]


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers; rows fill whole bytes, for a kernel cannot know of fewer codes."""
    found, chosen = quantize_trial.sizes(trial), scaling(trial)
    unit = chosen.group if chosen.packing == "nibbles_halves" else UNIT[chosen.packing]
    down = dict(trial.case.sizes)["n"] == "undertile"
    return {**found, "n": found["n"] // unit * unit if down else -(-found["n"] // unit) * unit}


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other codes and scales of the same recipe and sizes."""
    return _given(
        trial.case.recipe,
        trial.formats["out"],
        scaling(trial),
        tuple(sizes(trial).items()),
        trial.seed + 7919 * shift,
    )


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns, in the case's layout, fully guarded."""
    return call(trial, given.operands, layouts=layouts(trial))


def judge(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on every number that came back."""
    if got.fault is not None:
        return got.fault
    chosen = scaling(trial)
    verdict = judge_dequantized(got.codes, trial.formats["out"], given.quantized, chosen, trial.contract)
    judged = noted(trial, verdict, got)
    return replace(judged, notes={**judged.notes, "scaling": chosen.name})


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe and layout suit this kernel, else why they do not."""
    case, chosen = trial.case, scaling(trial)
    if not applicable(case.recipe, trial.formats["out"], chosen):
        return f"{chosen.name} to {trial.formats['out']} has no {case.recipe} data"
    if "batch" in dict(case.sizes) and "batch" not in trial.kernel.features:
        return "the kernel has no batch"
    if "reversed" in case.layout and trial.kernel.framework != "numpy":
        return f"{trial.kernel.framework} has no negative strides"
    return ""


def is_short(trial: Trial) -> bool:
    """Whether some numbers fill no group of the scaling."""
    return any(size % quantize_trial.whole(trial, name) for name, size in sizes(trial).items())


@lru_cache(maxsize=KEPT)
def _given(recipe: str, out: str, chosen: Scaling, sizes: tuple[tuple[str, int], ...], seed: int) -> Given:
    found = quantized(recipe, out, chosen, dict(sizes), seed)
    return Given(found, held(found, chosen))
