"""Checks of quantizers that compare results: powers of two, round trips, order, stochastic shares."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling
from lastbit.suites.comparison import with_note
from lastbit.suites.quantize_trial import has_data, inputs, judge, of_values, quantized, scaling
from lastbit.suites.trials import Given, obtain
from lastbit.verdict import Outcome, Verdict

#: Powers of two that a tensor is multiplied by; all formats of x have room for the products.
POWERS = (3, -2)


def powers_of_two(trial: Trial) -> Verdict:
    """x * 2^k has the codes of x, wherever the exact quantizer says so."""
    given = inputs(trial)
    return _alike(trial, given, [(f"x * 2^{k}", np.ldexp(given.operands["x"].values, k)) for k in POWERS])


def round_trip(trial: Trial) -> Verdict:
    """What the codes are worth has the same codes again, wherever the exact quantizer says so."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    found = None if verdict.outcome.failed else quantized(trial, given, got)[0]
    if found is None:
        return verdict
    worth = truth(found, scaling(trial)).hi
    return _alike(trial, given, [("quantize(dequantize(q))", worth)])


def order(trial: Trial) -> Verdict:
    """Of numbers that ascend, those with one scale have codes whose values do not descend."""
    given = inputs(trial)
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    found = None if verdict.outcome.failed else quantized(trial, given, got)[0]
    if found is None:
        return verdict
    chosen, shape = scaling(trial), given.operands["x"].values.shape
    worth = truth(found, chosen).hi
    groups = np.arange(int(np.prod(chosen.scale_shape(shape)))).reshape(chosen.scale_shape(shape))
    group = np.broadcast_to(spread(groups, chosen, shape), shape)
    descends = (worth[..., 1:] < worth[..., :-1]) & (group[..., 1:] == group[..., :-1])
    if not descends.any():
        return with_note(verdict, "order", "kept")
    where = tuple(int(i) for i in np.argwhere(descends)[0])
    reason = f"order: x ascends from {where} to the next number, and its quantized value descends; "
    reason += f"{int(descends.sum())} of {descends.size} pairs"
    return Verdict(Outcome.LAW_BROKEN, reason, float(descends.sum()), 0.0, str(where), notes=verdict.notes)


def has_order(trial: Trial) -> str:
    """Why order is not kept, or ""."""
    return has_data(trial) or _random(trial)


def has_law(trial: Trial) -> str:
    """Why results cannot be compared code by code, or ""."""
    chosen = scaling(trial)
    return has_data(trial) or _random(trial) or ("its scales are given" if chosen.rule == "given" else "")


def _random(trial: Trial) -> str:
    return "rounding is stochastic" if scaling(trial).rounding == "stochastic" else ""


def _alike(trial: Trial, given: Given, others: list[tuple[str, NDArray[np.float64]]]) -> Verdict:
    """The verdict on other numbers that the exact quantizer gives the codes of the first."""
    got = obtain(trial, given)
    verdict = judge(trial, given, got)
    base = None if verdict.outcome.failed else quantized(trial, given, got)[0]
    if base is None:
        return verdict
    shares = []
    for name, values in others:
        other = of_values(trial, values)
        again = obtain(trial, other)
        judged = judge(trial, other, again)
        found = None if judged.outcome.failed else quantized(trial, other, again)[0]
        if found is None:
            return replace(judged, reason=f"{name}: {judged.reason}")
        same = _promised(scaling(trial), given.operands["x"], other.operands["x"])
        changed = same & (found.codes != base.codes)
        if changed.any():
            where = tuple(int(i) for i in np.argwhere(changed)[0])
            reason = f"{name} changes codes, first at {where}: {int(base.codes[where]):#x} becomes "
            reason += f"{int(found.codes[where]):#x}; {int(changed.sum())} of {int(same.sum())} that may not change"
            return Verdict(Outcome.LAW_BROKEN, reason, float(changed.sum()), 0.0, str(where), notes=verdict.notes)
        shares.append(f"{name} keeps {100 * float(same.mean()):.3g} % of the codes")
    return with_note(verdict, "laws", "; ".join(shares))


def _promised(chosen: Scaling, one: Operand, other: Operand) -> NDArray[np.bool_]:
    """Where both have one code, and the same: under every arithmetic, of a scaling that declares none."""
    ways = (chosen.arithmetic,) if chosen.arithmetic is not None else ("exact", "divide", "reciprocal")
    every = [
        quantize(operand.values, replace(chosen, arithmetic=way), operand.format)
        for operand in (one, other)
        for way in ways
    ]
    same: NDArray[np.bool_] = np.isfinite(Format.of(chosen.element).decode(every[0].codes))
    for found in every:
        same &= found.codes == every[0].codes
        if found.unspecified is not None:
            same &= ~found.unspecified
    return same
