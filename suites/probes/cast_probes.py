"""P21 and P22: a cast's policy from a sweep of values, and every number of the format against that policy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.harness import call
from lastbit.kernel import Kernel
from lastbit.references import cast_data
from lastbit.references.cast import Rule, expected, right
from lastbit.references.data import Operand
from lastbit.references.formats import Format, FormatError
from lastbit.suites.probes.access import AccessError, Spent
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.span import Array, holds
from lastbit.suites.probes.sum_probes import rounded

#: Widest source whose every code is asked.
EXHAUSTIVE_BITS = 16
#: Numbers of each recipe that a wider source is asked.
DRAWN = 1 << 14
#: Ratios of a unit of the target between one number and the next: quarters, ties to even and odd neighbours.
RATIOS = (0.25, 0.5, 0.75, 1.5)


@dataclass(frozen=True, slots=True)
class Cast:
    """A cast kernel that answers with values."""

    source: Format
    target: Format
    #: Codes of the target for codes of the source.
    codes: Callable[[Operand], NDArray[Any]]
    spent: Spent

    def values(self, x: Array) -> Array:
        """What numbers of the source become."""
        return self.target.decode(self.codes(Operand.of(x, self.source.name)))


def of_kernel(kernel: Kernel, formats: Mapping[str, str], device: str) -> Cast:
    """The access to a cast kernel through the guarded harness; it raises AccessError where there is no result."""
    spent = Spent()

    def codes(x: Operand) -> NDArray[Any]:
        spent.calls, spent.sums = spent.calls + 1, spent.sums + x.codes.size
        case = Case("probe", (("n", x.codes.size),))
        trial = Trial(kernel, formats, resolved(kernel.contract, dict(formats)), device, case)
        got = call(trial, {"x": x})
        if got.fault:
            raise AccessError(f"{kernel.name}: {got.fault.outcome.value}: {got.fault.reason}")
        return got.codes

    return Cast(Format.of(formats["x"]), Format.of(formats["out"]), codes, spent)


def policy(cast: Cast) -> list[Answer]:
    """P21 and P22 of a cast: rounding, overflow, infinity, NaN, zero, subnormals, and all numbers against them."""
    if cast.target.kind not in ("float", "integer") or cast.source.kind != "float":
        return [undecided("P21", "cast_rounding", f"{cast.source.name} to {cast.target.name} has no such units")]
    found = [rounding(cast), overflow(cast), nan(cast), zero(cast), subnormals(cast), double_rounding(cast)]
    return [*found, everything(cast, {answer.property: answer for answer in found})]


def rounding(cast: Cast) -> Answer:
    """How a number between two of the target is rounded."""
    base = 2.0 ** min(cast.target.precision - 1, 8) if cast.target.kind == "integer" else 1.0
    unit = 1.0 if cast.target.kind == "integer" else 2.0 ** (1 - cast.target.precision)
    ratios = [r for r in RATIOS if holds(cast.source, base + r * unit) and base + 2 * unit <= cast.target.max]
    if not ratios:
        return Answer("P21", "cast_rounding", "exact", f"no number of {cast.source.name} lies between two of the other")
    signs = (1.0, -1.0) if cast.target.signed else (1.0,)
    x = np.array([sign * (base + r * unit) for sign in signs for r in ratios])
    units = (cast.values(x) - np.repeat(np.array(signs) * base, len(ratios))) / unit
    if len(signs) == 1:
        return undecided("P21", "cast_rounding", f"{cast.target.name} has no negative numbers to tell roundings by")
    return rounded("P21", "cast_rounding", ratios, units, f"{base:g} and r units")


def overflow(cast: Cast) -> Answer:
    """What a number beyond the target's largest becomes, and an infinity."""
    beyond = [x for x in (2.0 * cast.target.max, 4.0 * cast.target.max + 4) if holds(cast.source, x)]
    given = np.array([*beyond, *([np.inf, -np.inf] if cast.source.has_inf else [])])
    if not beyond:
        return undecided("P21", "cast_overflow", f"no finite number of {cast.source.name} is beyond {cast.target.name}")
    got = cast.values(given)
    kinds = [_kind(cast, value) for value in got]
    told = ", ".join(f"{x:g} gives {value:g}" for x, value in zip(given, got, strict=True))
    finite, infinite = set(kinds[: len(beyond)]), set(kinds[len(beyond) :])
    if len(finite) != 1:
        return undecided("P21", "cast_overflow", "numbers beyond it do not become one value", told)
    one = finite.pop()
    both = one if infinite <= {one} else f"{one}, of infinities {' or '.join(sorted(infinite))}"
    return Answer("P21", "cast_overflow", both, told)


def nan(cast: Cast) -> Answer:
    """What NaN becomes."""
    if not cast.source.has_nan:
        return undecided("P21", "cast_nan", f"{cast.source.name} has no NaN")
    got = float(cast.values(np.array([np.nan]))[0])
    kind = "NaN" if np.isnan(got) else "zero" if got == 0 else "max" if abs(got) == cast.target.max else f"{got:g}"
    return Answer("P21", "cast_nan", kind, f"NaN gives {got:g}")


def zero(cast: Cast) -> Answer:
    """Whether a negative zero stays one."""
    if not (cast.source.has_negative_zero and cast.target.has_negative_zero):
        return undecided("P21", "cast_zero", "a format has no negative zero")
    got = cast.values(np.array([-0.0]))
    return Answer("P21", "cast_zero", "kept" if np.signbit(got[0]) else "sign lost", f"-0 gives {got[0]:g}")


def subnormals(cast: Cast) -> Answer:
    """Whether subnormal operands and results are kept."""
    if cast.target.kind != "float":
        return undecided("P21", "cast_subnormals", "integers have none")
    tiny = [x for x in (cast.target.eta, cast.target.min_normal / 2, cast.source.eta) if holds(cast.source, x)]
    tiny = [x for x in tiny if holds(cast.target, x) and (x < cast.target.min_normal or x < cast.source.min_normal)]
    if not tiny:
        return undecided("P21", "cast_subnormals", "no subnormal number of one is a number of the other")
    got = cast.values(np.array(tiny))
    told = ", ".join(f"{x:g} gives {value:g}" for x, value in zip(tiny, got, strict=True))
    if np.array_equal(got, tiny):
        return Answer("P21", "cast_subnormals", "kept", told)
    if not got.any():
        return Answer("P21", "cast_subnormals", "flushed", told)
    return undecided("P21", "cast_subnormals", "some are kept, some are not", told)


def double_rounding(cast: Cast) -> Answer:
    """Whether a wide operand is rounded to f32 first: a midpoint and 2^-45 then becomes the midpoint, and goes to even."""
    if cast.source.precision < 53 or cast.target.precision > 11 or cast.target.kind != "float":
        return undecided("P21", "double_rounding", "it takes f64 operands and 11 bits at most")
    x = 1 + 2.0**-cast.target.precision + 2.0**-45
    got = cast.values(np.array([x]))[0]
    twice = bool(got == 1)
    return Answer("P21", "double_rounding", twice, f"1 + half a unit + 2^-45 gives {got!r}")


def everything(cast: Cast, known: Mapping[str, Answer]) -> Answer:
    """P22: every number of a source of 16 bits, or recipes of a wider one, against the policy that was found."""
    rule = _rule(known)
    if rule is None:
        return undecided("P22", "cast_table", "the policy could not be decided")
    formats = {"x": cast.source.name, "out": cast.target.name}
    recipes = [name for name in cast_data.RECIPES if cast_data.applicable(name, formats)]
    whole = cast.source.bits <= EXHAUSTIVE_BITS and "all" in recipes
    wrong = total = 0
    first = ""
    for recipe in ["all"] if whole else [name for name in recipes if name != "all"]:
        x = cast_data.operand(recipe, formats, None if whole else (DRAWN,), 22)
        got = cast.codes(x)
        try:
            wanted = expected(x.values, cast.source, cast.target, rule)
        except FormatError as error:
            return undecided("P22", "cast_table", str(error))
        fine = right(got, wanted, x.values, cast.target)
        wrong, total = wrong + int((~fine).sum()), total + fine.size
        if not fine.all() and not first:
            at = int(np.argmin(fine))
            first = f"; {x.values[at]!r} gives {cast.target.decode(got[at : at + 1])[0]!r}"
    told = f"{wrong} of {total} {'numbers, all that there are,' if whole else 'numbers'} differ from the policy{first}"
    return Answer("P22", "cast_table", "as the policy says" if not wrong else f"{wrong} numbers differ", told)


def _rule(known: Mapping[str, Answer]) -> Rule | None:
    """The rule that the answers make."""
    way, beyond = known["cast_rounding"].value, known["cast_overflow"].value
    if way is None or (beyond is None and "no finite number" not in known["cast_overflow"].indeterminate_reason):
        return None
    words = {"saturates": "saturate", "infinity": "inf", "NaN": "nan", "saturates, of infinities infinity": "propagate"}
    if beyond is not None and beyond not in words:
        return None
    rule = Rule("nearest-even" if way == "exact" else str(way), words.get(str(beyond)))
    if known["cast_nan"].value in ("zero", "max"):
        rule = replace(rule, nan=str(known["cast_nan"].value))
    return replace(rule, flush=known["cast_subnormals"].value == "flushed")


def _kind(cast: Cast, value: float) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "infinity"
    return "saturates" if value in (cast.target.max, cast.target.lowest) else "another number"
