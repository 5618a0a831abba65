"""P22: whether a cast's whole table is what the answers on it say, and how far its codes are from nearest even."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.cast import Expected, Rule, expected, right
from lastbit.references.cast_data import applicable, operand
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites.probes.answer import Answer, Known, undecided, value_of
from lastbit.suites.probes.op_access import Ask

#: How a saturation or an infinity is said in Rule.
OVERFLOW = {"infinity": "inf", "NaN": "nan", "largest": "saturate", "wraps": "wrap"}
#: Roundings that the reference has.
RULED = ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd", "stochastic")
#: The format of so many bits that a number may pass on its way.
ON_WAY = {8: "bf16", 11: "f16", 24: "f32", 53: "f64"}
#: Recipes of the law of casts over which a table is compared: all numbers of a source of 16 bits.
RECIPES = ("every_code", "boundaries", "stratified", "specials", "shared")


def table(ask: Ask, source: Format, target: Format, known: Known) -> Answer:
    """P22: whether every code becomes what the answers say: all of a source of 16 bits, else the places that decide."""
    rule = rule_of(known, target)
    if rule is None:
        return undecided("P22", "cast_table", "the rounding, or what is beyond the range, is not one thing")
    total, wrong, first, histogram = 0, 0, "", dict[str, int]()
    for recipe in RECIPES:
        if not applicable(recipe, ask.formats):
            continue
        x = operand(recipe, ask.formats, None, 22)
        codes = ask({"x": x}).codes
        ask.spent.sums += codes.size
        bad = ~right(codes, _wanted(x, source, target, rule, known), x.values, target)
        total, wrong = total + bad.size, wrong + int(bad.sum())
        _count_kappa(histogram, x, codes, target)
        if bad.any() and not first:
            i = int(np.flatnonzero(bad.reshape(-1))[0])
            first = f"; {float(x.values.reshape(-1)[i]).hex()} gives {float(target.decode(codes).reshape(-1)[i])!r}"
    shares = ", ".join(f"kappa {name}: {count}" for name, count in sorted(histogram.items()))
    told = f"{wrong} of {total} codes are others{first}; from one rounding to nearest even, {shares}"
    return Answer("P22", "cast_table", "as the answers say" if not wrong else "not as the answers say", told)


def rule_of(known: Known, target: Format) -> Rule | None:
    """The rule that the answers make, or None where the reference has none such."""
    rounding = value_of(known, "cast_rounding")
    rounding = "nearest-even" if rounding == "exact" else rounding
    overflow, infinite = value_of(known, "cast_overflow"), value_of(known, "cast_infinity")
    if rounding in ("down", "up") and overflow == "infinity or largest":
        overflow = "infinity"
    said = next((one for one in (overflow, infinite, value_of(known, "cast_negative")) if one is not None), None)
    if rounding not in RULED or overflow not in (*OVERFLOW, None):
        return None
    chosen = OVERFLOW.get(str(said))
    if overflow == "largest" and infinite in ("infinity", "NaN"):
        chosen = "propagate"
    flush = "flushed" in (value_of(known, "cast_subnormal_results"), value_of(known, "cast_subnormal_operands"))
    lost = value_of(known, "cast_nan")
    nan = "zero" if lost == "0" else "max" if lost == f"{target.max:g}" else None
    none = "nan" if target.kind == "exponent" and value_of(known, "cast_zero") == "NaN" else None
    return Rule(str(rounding), chosen, None if target.has_nan else nan, none, flush)


def _wanted(x: Operand, source: Format, target: Format, rule: Rule, known: Known) -> Expected:
    """The codes that the answers say, through the format on the way where there is one."""
    values, steps = x.values, str(value_of(known, "cast_steps"))
    if steps.startswith("two") and (bits := int(steps.split()[-2])) in ON_WAY and source.name != ON_WAY[bits]:
        values = Format.of(ON_WAY[bits]).round(values)
    if value_of(known, "cast_negative") == "magnitude":
        values = np.abs(values)
    return expected(values, source, target, rule)


def _count_kappa(histogram: dict[str, int], x: Operand, codes: NDArray[Any], target: Format) -> None:
    """How many numbers of the target lie between each result and the nearest one, where both are numbers."""
    with np.errstate(invalid="ignore"):
        nearest = target.encode(np.nan_to_num(x.values, posinf=target.max, neginf=-target.max), overflow="saturate")
    numbers = np.isfinite(target.decode(codes)) & np.isfinite(x.values)
    apart = np.abs(target.keys(codes) - target.keys(nearest))[numbers]
    for name, which in (("0", apart == 0), ("1", apart == 1), ("2 or more", apart > 1)):
        if which.any():
            histogram[name] = histogram.get(name, 0) + int(which.sum())
