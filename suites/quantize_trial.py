"""What the checks of quantizers share: sizes in whole groups, operands, and the judgement of what came back."""

from collections.abc import Mapping
from dataclasses import replace
from math import lcm

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.harness import Obtained
from lastbit.quantize_judge import judge_quantized
from lastbit.references.data import Operand
from lastbit.references.dequantize import truth
from lastbit.references.packing import UNIT
from lastbit.references.quantize import Quantized, Scales
from lastbit.references.quantize import given as given_scales
from lastbit.references.quantize_data import applicable, operands
from lastbit.references.quantize_recipes import RECIPES
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import operand_names, parts, scaling_of
from lastbit.scaled_storage import held_scale, narrowed, read
from lastbit.suites.proofs import drawn_once
from lastbit.suites.trials import Given, check_recipe, lacking, layouts, noted, seed_of, unless_vacuous, unplaceable
from lastbit.verdict import Outcome, Verdict

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 48
#: Numbers in a row of scalings that do not divide rows into groups, in place of a group.
GROUP = 32
#: Groups in a row by size word; "overtile" and "undertile" have one number more or less than "tile", "halftile" half a
#: group more.
GROUPS = {"fair": 1, "tile": 3, "overtile": 3, "undertile": 3, "halftile": 3, "long": 9}
#: Numbers in a row by size word, at least, of sizes that common tiles and vectors divide.
WHOLE = {"even": 128, "wide": 1024}
#: Bit patterns of 16 bits.
PATTERNS = 1 << 16


def scaling(trial: Trial) -> Scaling:
    """The scaling that the kernel promises, its contract included."""
    return scaling_of(trial.kernel, trial.contract)


def sizes(trial: Trial) -> dict[str, int]:
    """The case's sizes as numbers: words in groups of the scaling; numbers rounded up to whole groups for a kernel
    that has no "tails".

    Raises UsageError for a word that is none of quantizers.
    """
    found: dict[str, int] = {}
    for name, size in reversed(trial.case.sizes):
        unit = whole(trial, name)
        if size == "all":
            found[name] = -(-PATTERNS // (found["n"] * unit)) * unit
        elif isinstance(size, str) and size not in (*GROUPS, *WHOLE):
            words = ", ".join((*GROUPS, *WHOLE, "all"))
            raise UsageError(f"case {trial.case.id}: {name} is {size!r}, expected a number or one of {words}")
        elif isinstance(size, str):
            group = _group(trial, name)
            more = {"overtile": 1, "undertile": -1, "halftile": group // 2}.get(size, 0)
            found[name] = lcm(WHOLE[size], group) if size in WHOLE else GROUPS[size] * group + more
        else:
            found[name] = size if "tails" in trial.kernel.features else -(-size // unit) * unit
    return {name: found[name] for name, _ in trial.case.sizes}


def whole(trial: Trial, name: str) -> int:
    """What a size has to be a multiple of for a kernel without "tails"."""
    chosen = scaling(trial)
    unit = trial.kernel.tile.get(name, 1)
    if chosen.granularity == "block" and name in ("m", "n"):
        unit = lcm(unit, chosen.block[name == "n"])
    if chosen.granularity == "group" and name == _axis_name(chosen):
        unit = lcm(unit, chosen.group)
    return lcm(unit, UNIT[chosen.packing]) if name == "n" else unit


def inputs(trial: Trial, *, shift: int = 0) -> Given:
    """The trial's operands; another `shift` draws other numbers of the same recipe and sizes."""
    formats, resolved = tuple(trial.formats.items()), tuple(sizes(trial).items())
    return Given(_operands(trial.case.recipe, formats, scaling(trial), resolved, seed_of(trial, shift)))


def of_values(trial: Trial, values: NDArray[np.float64]) -> Given:
    """Operand x with these numbers, rounded to its format."""
    return Given({"x": Operand.of(values, trial.formats["x"])})


def quantized(trial: Trial, given: Given, got: Obtained) -> tuple[Quantized | None, str]:
    """What came back, unpacked, with the scales that the kernel was given, if it was; or None and what is wrong with
    it."""
    arrays, chosen = [codes for codes in (got.codes, *got.others) if codes is not None], scaling(trial)
    found, strange = read(arrays, chosen, given.operands["x"].codes.shape)
    known = known_scales(chosen, given.operands)
    if found is None or known is None:
        return found, strange
    return Quantized(found.codes, known.scale, known.zero_point, known.global_scale), strange


def judge(trial: Trial, given: Given, got: Obtained) -> Verdict:
    """The verdict on every part of what came back; VACUOUS where the scaling leaves every one open."""
    if got.fault is not None:
        return got.fault
    chosen, x = scaling(trial), given.operands["x"]
    found, strange = quantized(trial, given, got)
    if found is None:
        return Verdict(Outcome.WRONG_STRUCTURE, strange, notes=got.notes)
    known, flush = known_scales(chosen, given.operands), trial.contract.subnormals == "flush"
    verdict, hole = judge_quantized(x.values, x.format, chosen, found, known, flush=flush)
    judged = unless_vacuous(noted(trial, verdict, got), hole)
    return replace(judged, notes={**judged.notes, "scaling": chosen.name})


def known_scales(chosen: Scaling, operands: Mapping[str, Operand]) -> Scales | None:
    """The scales that the kernel was given, if it was."""
    if chosen.rule != "given":
        return None
    codes = {name: narrowed(operands[name].codes, fmt) for name, fmt in parts(chosen).items() if name != "codes"}
    return given_scales(chosen, codes.get("scale"), codes.get("zero_point"), codes.get("global_scale"))


def format_error(x: NDArray[np.float64], found: Quantized, chosen: Scaling) -> str:
    """How far the quantized numbers are from x, as a signal-to-noise ratio; a property of the format, not judged."""
    exact = truth(found, chosen)
    with np.errstate(all="ignore"):
        noise, signal = float(np.square(exact.hi - x).sum()), float(np.square(x).sum())
        ratio = 10 * np.log10(signal / noise) if noise else np.inf
    return f"{ratio:.1f} dB"


def has_data(trial: Trial) -> str:
    """ "" if the case's recipe and layout suit this kernel, else why they do not."""
    case, chosen = trial.case, scaling(trial)
    check_recipe(trial, RECIPES)
    if not applicable(case.recipe, trial.formats["x"], chosen):
        return f"the scaling has no {case.recipe} data"
    columns = sizes(trial)["n"]
    if chosen.packing == "nibbles_halves" and columns % chosen.group:
        return "halves of a group are packed of whole groups"
    absent = layouts(trial).keys() - set(operand_names(trial.kernel))
    if absent:
        return f"the kernel takes no {', '.join(sorted(absent))}"
    return lacking(trial, {"batch"} & dict(case.sizes).keys()) or unplaceable(trial)


def _axis_name(chosen: Scaling) -> str:
    return "n" if chosen.axis == -1 else "m"


def _group(trial: Trial, name: str) -> int:
    """Numbers in a group along an axis; whole groups suit kernels without "tails"."""
    unit = whole(trial, name)
    return unit if unit > max(UNIT.values()) else lcm(GROUP, unit)  # codes that share a byte are no group


@drawn_once(KEPT)
def _operands(
    recipe: str, formats: tuple[tuple[str, str], ...], chosen: Scaling, sizes: tuple[tuple[str, int], ...], seed: int
) -> Mapping[str, Operand]:
    drawn = operands(recipe, dict(formats), chosen, dict(sizes), seed)
    return {name: operand if name == "x" else held_scale(operand) for name, operand in drawn.items()}
