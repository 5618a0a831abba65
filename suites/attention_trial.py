"""What the attention checks share: sizes, operands and options of a trial, what it needs, and the guarded call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lastbit.case import Trial
from lastbit.harness import Obtained
from lastbit.references.attention_data import RECIPES, operands, problem_of, reason_not
from lastbit.references.attention_mask import Problem
from lastbit.references.data import Operand
from lastbit.suites import trials
from lastbit.suites.proofs import drawn_once
from lastbit.suites.trial_sizes import resolved as sizes
from lastbit.suites.trials import Given, check_heads, check_recipe, lacking, seed_of, unplaceable, window_of

__all__ = [
    "Drawn",
    "Given",
    "as_called",
    "call_options",
    "drawn_formats",
    "has_data",
    "inputs",
    "obtain",
    "problem",
    "sizes",
    "wanted",
]

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Options of a case that are operands of the call, and the feature that a kernel needs for each of their values.
EXTRAS = {"mask": {"keep": "mask", "add": "additive_mask"}, "bias": {"heads": "bias"}, "sinks": {"heads": "sinks"}}
#: Options of a case that are options of the call, and how they are read.
CALLED: dict[str, Callable[[Any], Any]] = {"scale": float, "causal": bool, "window": window_of, "softcap": float}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.attention_data.operands, hashable."""

    recipe: str
    formats: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    extras: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands and options; another `shift` draws other data of the same recipe and sizes."""
    drawn = Drawn(
        trial.case.recipe,
        tuple(drawn_formats(trial).items()),
        tuple(sizes(trial).items()),
        seed_of(trial, shift),
        tuple(name for name, _ in trial.case.options if name in EXTRAS),
        (*call_options(trial).items(), ("causal_alignment", trial.contract.causal_alignment)),
    )
    return Given(_operands(drawn), call_options(trial), drawn)


def call_options(trial: Trial) -> dict[str, Any]:
    """The case's options as the kernel is called with them: a window is a pair of numbers, causal a bool."""
    chosen = dict(trial.case.options)
    return {name: convert(chosen[name]) for name, convert in CALLED.items() if name in chosen}


def drawn_formats(trial: Trial) -> dict[str, str]:
    """The formats of the operands, of a mask too if it is added."""
    added = dict(trial.case.options).get("mask") == "add"
    wide = {"q", "k", "v", "out"}
    base = {name: fmt for name, fmt in trial.formats.items() if name in wide}
    return base | ({"mask": trial.formats["q"]} if added else {}) | {"sinks": _sink_format(trial)}


def obtain(trial: Trial, given: Given) -> Obtained:
    """What the kernel returns for `given`, in the case's layout and with its options, fully guarded."""
    return trials.obtain(trial, Given(as_called(given.operands), given.options))


def as_called(given: Mapping[str, Operand]) -> dict[str, Operand]:
    """The operands with a mask of integers as the booleans that kernels take."""
    called = dict(given)
    mask = called.get("mask")
    if mask is not None and mask.format == "u8":
        called["mask"] = Operand("bool", (mask.codes != 0).astype(np.uint8), mask.values)
    return called


def problem(trial: Trial, given: Given) -> Problem:
    """The problem that the call poses under the contract's alignment and masked rows."""
    return problem_of(given.operands, given.options, trial.contract)


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe, layout and options suit this kernel, else why they do not."""
    check_recipe(trial, RECIPES)
    check_heads(trial, sizes(trial))
    missing = lacking(trial, wanted(trial))
    if missing:
        return missing
    options = {**call_options(trial), "causal_alignment": trial.contract.causal_alignment}
    extras = tuple(name for name in dict(trial.case.options) if name in EXTRAS)
    return reason_not(trial.case.recipe, drawn_formats(trial), sizes(trial), options, extras) or unplaceable(trial)


def wanted(trial: Trial) -> set[str]:
    """The features that the case needs of a kernel."""
    options, counts = dict(trial.case.options), sizes(trial)
    features = {EXTRAS.get(name, {}).get(str(value), name) for name, value in options.items()}
    if "causal" in options and not options["causal"]:
        features.discard("causal")
    if ("mask" in options or "bias" in options) and ("causal" in options or "window" in options):
        features.add("causal_mask")
    if "mask" in options and "bias" in options:
        features.add("mask_bias")
    if counts.get("hkv", 1) != counts.get("hq", 1):
        features.add("gqa")
    if counts.get("dv", counts["d"]) != counts["d"]:
        features.add("dv")
    return features


@drawn_once(KEPT)
def _operands(drawn: Drawn) -> Mapping[str, Operand]:
    """The operands that `drawn` describes, the same ones as long as they are kept."""
    return operands(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.seed,
        extras=drawn.extras,
        options=dict(drawn.options),
    )


def _sink_format(trial: Trial) -> str:
    return "f64" if trial.formats["out"] == "f64" else "f32"
