"""P21: what a cast does at the ends of its target's range, with NaN, zeros and subnormal numbers."""

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.answer import Answer, undecided, value_of
from lastbit.suites.probes.cast_rounding_probes import ROUNDINGS, Cast, rounding, two_roundings
from lastbit.suites.probes.cast_table_probe import table
from lastbit.suites.probes.op_access import Array, Ask, exact, stepped

#: Numbers asked at once in the search of a threshold.
WAYS = 62
#: Numbers beyond the range that are asked.
BEYOND = 96


def cast_answers(ask: Ask) -> list[Answer]:
    """Every probe of a cast, in the order of what confounds them.

    Raises AccessError where the kernel gives no result.
    """
    source, target = Format.of(ask.formats["x"]), Format.of(ask.formats["out"])

    def cast(x: Array) -> Array:
        ask.spent.sums += x.size
        return target.decode(ask({"x": exact(x, source.name)}).codes)

    found: dict[str, Answer] = {}

    def note(answer: Answer) -> None:
        found[answer.property] = answer

    note(rounding(cast, source, target))
    known = str(value_of(found, "cast_rounding") or "unknown")
    note(two_roundings(cast, source, target, known))
    note(beyond(cast, source, target, known))
    note(threshold(cast, source, target, known))
    note(infinity(cast, source, target))
    note(nan(cast, source))
    note(zero(cast, source, target))
    note(negative(cast, source, target))
    note(subnormal_results(cast, source, target))
    note(subnormal_operands(cast, source, target))
    note(table(ask, source, target, found))
    return list(found.values())


def beyond(cast: Cast, source: Format, target: Format, known: str) -> Answer:
    """P21: what numbers become that the rounding takes beyond the target's largest."""
    name = "cast_overflow"
    past = _edge(source, target, known) or _past(target)
    if source.max < past:
        return undecided("P21", name, f"no {source.name} is rounded beyond the largest {target.name}")
    with np.errstate(over="ignore"):
        spread = past * np.exp2(np.linspace(0.0, np.log2(source.max) - np.log2(past), BEYOND))
    x = source.round(np.minimum(np.append(spread, np.inf), source.max), rounding="up", overflow="saturate")
    signs = (1.0, -1.0) if source.signed and target.signed else (1.0,)
    asked = np.concatenate([sign * x for sign in signs])
    kinds = _kinds(asked, cast(asked), target)
    told = ", ".join(f"{value:g} gives {kind}" for kind, value in kinds.items())
    return Answer("P21", name, " or ".join(sorted(kinds)), told)


def threshold(cast: Cast, source: Format, target: Format, known: str) -> Answer:
    """P21: the smallest magnitude that is not rounded to the largest number, found by search."""
    name = "cast_threshold"
    inside, outside = float(source.round(target.max, rounding="toward-zero", overflow="saturate")), source.max
    if source.max <= target.max:
        return undecided("P21", name, f"no {source.name} is beyond the largest {target.name}")
    if known == "stochastic":
        return undecided("P21", name, "a stochastic rounding overflows at no one number")
    if float(cast(np.array([outside]))[0]) == target.max:
        return undecided("P21", name, "the largest number of the source gives that of the target: nothing overflows")
    while True:
        gap = _count(source, inside, outside)
        steps = np.unique(np.linspace(0, gap, WAYS + 2).astype(np.int64))
        x = stepped(source, np.full(len(steps), inside), steps)
        over = cast(x) != target.max
        over[0], over[-1] = False, True
        first = int(np.argmax(over))
        if gap <= WAYS:
            break
        inside, outside = float(x[first - 1]), float(x[first])
    edge = float(x[first])
    told = f"{float(x[first - 1])!r} gives {target.max:g}, {edge!r} does not"
    return Answer("P21", name, "where the rounding says" if edge == _edge(source, target, known) else edge, told)


def infinity(cast: Cast, source: Format, target: Format) -> Answer:
    """P21: what infinities become."""
    if not source.has_inf:
        return undecided("P21", "cast_infinity", f"{source.name} has no infinity")
    given = np.array([np.inf, -np.inf] if target.signed else [np.inf])
    kinds = [_kind(float(x), float(got), target) for x, got in zip(given, cast(given), strict=True)]
    told = f"infinity gives {kinds[0]}" + (f", -infinity {kinds[1]}" if target.signed else "")
    return Answer("P21", "cast_infinity", " or ".join(sorted(set(kinds))), told)


def nan(cast: Cast, source: Format) -> Answer:
    """P21: what NaN becomes."""
    if not source.has_nan:
        return undecided("P21", "cast_nan", f"{source.name} has no NaN")
    try:
        got = float(cast(np.array([np.nan, 1.0]))[0])
    except AccessError as error:
        return Answer("P21", "cast_nan", "refused", str(error))
    return Answer(
        "P21", "cast_nan", "NaN" if np.isnan(got) else f"{abs(got) if got == 0 else got:g}", f"NaN gives {got:g}"
    )


def zero(cast: Cast, source: Format, target: Format) -> Answer:
    """P21: what zeros become: the sign of -0, or what a format without zero has for it."""
    if source.kind == "exponent":
        return undecided("P21", "cast_zero", f"{source.name} has no zero")
    got = cast(np.array([0.0, -0.0 if source.has_negative_zero else 0.0]))
    told = f"0 gives {got[0]:g}, -0 gives {got[1]:g}"
    if target.kind == "exponent":
        return Answer("P21", "cast_zero", "NaN" if np.isnan(got[0]) else float(got[0]).hex(), told)
    if (got != 0).any():
        return Answer("P21", "cast_zero", "not zero", told)
    if not (source.has_negative_zero and target.has_negative_zero):
        return undecided("P21", "cast_zero", f"{source.name} or {target.name} has no negative zero", told)
    return Answer("P21", "cast_zero", "-0 kept" if np.signbit(got[1]) else "-0 lost", told)


def negative(cast: Cast, source: Format, target: Format) -> Answer:
    """P21: what negative numbers become in a format without them."""
    if target.signed or not source.signed:
        return undecided("P21", "cast_negative", f"{target.name} has negative numbers, or {source.name} none")
    x = np.array([-1.0, -2.0, -4.0])
    got = cast(x)
    kinds = {_negative(float(a), float(b), target) for a, b in zip(x, got, strict=True)}
    told = f"-1, -2, -4 give {got[0]:g}, {got[1]:g}, {got[2]:g}"
    return Answer("P21", "cast_negative", " or ".join(sorted(kinds)), told)


def subnormal_results(cast: Cast, source: Format, target: Format) -> Answer:
    """P21: whether results below the target's normal range are kept: each subnormal number the source has."""
    name = "cast_subnormal_results"
    if target.kind != "float" or target.eta == target.min_normal:
        return undecided("P21", name, f"{target.name} has no subnormal numbers")
    x = _subnormals(target)
    x = x[(source.round(x, overflow="saturate") == x) & (x >= source.min_normal)]
    if not len(x):
        return undecided("P21", name, f"no normal {source.name} is a subnormal {target.name}")
    return Answer("P21", name, *_kept(x, cast(x)))


def subnormal_operands(cast: Cast, source: Format, target: Format) -> Answer:
    """P21: whether subnormal numbers of the source count, where the target holds them."""
    name = "cast_subnormal_operands"
    if source.kind != "float":
        return undecided("P21", name, f"{source.name} has no subnormal numbers")
    x = _subnormals(source)
    if target.kind != "float" or not (target.round(x) == x).any():
        return undecided("P21", name, f"no subnormal {source.name} is a {target.name}")
    x = x[target.round(x) == x]
    return Answer("P21", name, *_kept(x, cast(x)))


def _subnormals(fmt: Format) -> Array:
    """Some of its subnormal numbers, the first and the last among them."""
    places = np.unique(np.geomspace(1, 2 ** (fmt.precision - 1) - 1, 64).astype(np.int64))
    return np.ldexp(places.astype(np.float64), fmt.emin - fmt.precision + 1)


def _kinds(x: Array, got: Array, target: Format) -> dict[str, float]:
    """What numbers beyond the range became, each with the first number that did."""
    plain = [_kind(float(a), float(b), target) for a, b in zip(x, got, strict=True)]
    if set(plain) != {"largest"}:
        wrapped = [_wraps(float(a), float(b), target) for a, b in zip(x, got, strict=True)]
        plain = ["wraps" if wraps else kind for wraps, kind in zip(wrapped, plain, strict=True)]
    found: dict[str, float] = {}
    for kind, value in zip(plain, x, strict=True):
        found.setdefault(kind, float(value))
    return found


def _wraps(x: float, got: float, target: Format) -> bool:
    finite = target.kind == "integer" and np.isfinite(x) and np.isfinite(got)
    return bool(finite) and (int(x) - int(got)) % (1 << target.bits) == 0


def _kind(x: float, got: float, target: Format) -> str:
    """What a number beyond the range became."""
    if np.isnan(got):
        return "NaN"
    if np.isinf(got):
        return "infinity" if (got > 0) == (x > 0) else "the other infinity"
    return "largest" if got == (target.max if x > 0 else target.lowest) else "other"


def _negative(x: float, got: float, target: Format) -> str:
    if np.isnan(got):
        return "NaN"
    if got == -x:
        return "magnitude"
    return "wraps" if _wraps(x, got, target) else "lowest" if got == target.lowest else "other"


def _kept(x: Array, got: Array) -> tuple[str, str]:
    """The value and the evidence of subnormal numbers that should stay what they are."""
    same, lost = int((got == x).sum()), int((got == 0).sum())
    told = f"of {len(x)} from {float(x[0]).hex()} to {float(x[-1]).hex()} {same} are kept, {lost} give 0"
    return "kept" if same == len(x) else "flushed" if lost == len(x) else "changed", told


def _count(source: Format, low: float, high: float) -> int:
    """Numbers of the source from low to high."""
    if source.kind == "integer":
        return int(high - low)
    codes = source.encode(np.array([low, high])).astype(np.int64)
    return int(codes[1] - codes[0])


def _past(target: Format) -> float:
    """The number that would be the next above the largest."""
    return target.max + (target.max if target.kind == "exponent" else float(target.ulp(target.max)))


def _edge(source: Format, target: Format, known: str) -> float | None:
    """The first number of the source that the rounding takes beyond the target's largest, if it says which."""
    past = _past(target)
    if known in ("toward-zero", "down"):
        at, inclusive = past, True
    elif known in ("up", "away", "exact"):
        at, inclusive = target.max, False
    elif known == "to-odd":
        at, inclusive = (past, True) if target.max_code & 1 else (target.max, False)
    elif known in ROUNDINGS:
        at, inclusive = (target.max + past) / 2, ROUNDINGS[known](False, bool(target.max_code & 1), 0.5)
    else:
        return None
    if at > source.max:
        return None
    below = source.round(at, rounding="toward-zero", overflow="saturate")
    if inclusive and below == at:
        return float(below)
    return float(stepped(source, np.asarray(below), 1))
