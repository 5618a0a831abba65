"""P25: the weights of an attention: their format, the smallest, and what maximum is taken off."""

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes.answer import Answer, Value, undecided
from lastbit.suites.probes.attention_access import KEYS, WIDTH, Attention
from lastbit.suites.probes.op_access import Array

#: Formats that weights may be rounded to, and factors that they may be multiplied by first.
WEIGHTS = ("bf16", "f16", "tf32", "e4m3fn", "e5m2", "f32")
FACTORS = (1.0, 256.0, 448.0)
#: What makes a key's logit so small that it has no weight.
FAR = -512.0


def weights(kernel: Attention, logits: Array) -> tuple[Array, Array]:
    """Each exp(logit) of negative logits as the kernel multiplies it, over its sum, and the subtracted part (n,) each.

    A key of logit 0 has the value -v, v near exp(logit), a second one of the logit the value 1: what is left of the
    difference is seen in full precision, whatever the result's format.
    """
    fmt, count = kernel.fmt, len(logits)
    taken = fmt.round(np.exp(logits))
    got = np.empty(count)
    for start in range(0, count, WIDTH):
        part = slice(start, min(start + WIDTH, count))
        size = part.stop - start
        values = np.zeros((2, WIDTH))
        values[0, :size], values[1, :size] = -taken[part], 1.0
        result = kernel(logits[part], np.array([0.0, 1.0]), values)
        got[part] = result[np.arange(size), np.arange(size)]
    return got, taken


def probabilities(kernel: Attention, least: Value | None = None) -> Answer:
    """The format that weights are rounded to before they meet the values, and whether before they are divided.

    `least` is the exponent of the smallest weight that counts: it tells formats of one precision apart.
    """
    name = "probabilities"
    logits = _logits(kernel.fmt)
    got, taken = weights(kernel, logits)
    exact_weight = np.exp(logits)
    sums = 1 + exact_weight
    unit = np.maximum(kernel.out.ulp(np.abs(got)), 2.0**-23 if kernel.out.precision <= 24 else 2.0**-51)
    fits, wrong = [], dict[str, float]()
    for fmt in WEIGHTS if kernel.out.precision <= 24 else (*WEIGHTS, "f64"):
        for factor in FACTORS if fmt in ("e4m3fn", "e5m2") else FACTORS[:1]:
            late = _rounded(exact_weight, fmt, factor) - _rounded(np.ones(1), fmt, factor) * taken
            early = _rounded(exact_weight / sums, fmt, factor) - _rounded(1 / sums, fmt, factor) * taken
            for when, wanted in ((late / sums, ""), (early, ", divided first")):
                key = fmt + (f" times {factor:g}" if factor != 1 else "") + wanted
                wrong[key] = float((np.abs(got - when) / unit).max())
                fits += [key] if wrong[key] <= 2.0 and _reaches(fmt, factor, least) else []
    told = f"exp(x) - v at {len(logits)} logits: off by " + ", ".join(f"{k} {v:.3g}" for k, v in wrong.items())
    told += " units"
    widest = {"f32", "f32, divided first", "f64", "f64, divided first"}
    if fits and set(fits) <= widest:
        return Answer("P25", name, "f64" if not any(one.startswith("f32") for one in fits) else "f32", told)
    if len(fits) == 1:
        return Answer("P25", name, fits[0], told)
    reason = f"{' and '.join(fits)} fit alike" if fits else "no format that is known fits"
    return undecided("P25", name, reason, told)


def smallest_weight(kernel: Attention) -> Answer:
    """The exponent of the smallest weight beside one of 1 that still counts."""
    name, fmt = "smallest_weight", kernel.fmt
    powers = np.arange(1, 1090 if kernel.out.precision > 24 else 160)
    lift = min(30, kernel.out.emax - 1, fmt.emax - 1)
    logits = fmt.round(-powers * np.log(2.0), rounding="toward-zero")
    got = _one_by_one(kernel, logits, 2.0**lift)
    least = kernel.out.emin - kernel.out.precision + 1 - lift
    seen = np.flatnonzero(got > 0)
    last = int(powers[seen[-1]]) if len(seen) else 0
    told = f"a key of weight 2^-{last} and value 2^{lift} beside a weight of 1 and value 0 still counts"
    if last >= min(-least, int(powers[-1])):
        return undecided("P25", name, f"{kernel.out.name} ends at 2^{least} there", told)
    return Answer("P25", name, -last, told)


def sink(kernel: Attention) -> Answer:
    """Whether 255 keys count beside one of a logit 6.5 and 20 above theirs: as beside an attention sink."""
    told, kept = [], []
    for above in (6.5, 20.0):
        keys = np.full(KEYS, -above)
        keys[0] = 0.0
        values = np.ones((KEYS, WIDTH))
        values[0] = 0.0
        got = float(kernel(np.array([1.0]), keys, values)[0, 0])
        share = (KEYS - 1) * np.exp(-above)
        wanted = share / (1 + share)
        kept.append(abs(got - wanted) <= 2.0**-5 * wanted + kernel.out.eta)
        told.append(f"{above:g} above: {got:.4g} for {wanted:.4g}")
    value = "kept" if all(kept) else "lost" if not any(kept) else "lost from 20 on" if kept[0] else "kept at 20 only"
    return Answer("P25", "sink", value, "a key above 255 others: " + ", ".join(told))


def running_maximum(kernel: Attention) -> Answer:
    """Whether the maximum is one for all keys, or grows from tile to tile: what a first key's weight was multiplied by.

    The largest logit L comes last, one of half as much before it at every place: exp(-L / 2) twice is not exp(-L). L is
    so large that no weight but that of the last key changes the sum of weights.
    """
    name = "running_maximum"
    if kernel.out.emin > -100:
        return undecided("P25", name, f"{kernel.out.name} does not hold weights that leave the sum alone")
    plain = _growing(kernel, None)
    first, last = 1, KEYS - 2
    told = f"largest logit last of {KEYS}, one of half as much before it"
    if _growing(kernel, first) == plain and _growing(kernel, last) == plain and _growing(kernel, KEYS // 2) == plain:
        return Answer("P25", name, f"one for {KEYS} keys", f"{told}: no place of it changes a bit")
    if _growing(kernel, last) != plain:
        return Answer("P25", name, "grows by tiles", f"{told}: even beside it the bits change")
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if _growing(kernel, middle) == plain else (middle, last)
    told += f": at {last} or later no bit changes"
    if last < KEYS // 2:  # a last tile that is larger than all before it
        return Answer("P25", name, f"of parts that are combined, the first of {last} keys", told)
    return Answer("P25", name, f"grows by tiles, the last from key {last} of {KEYS}", told)


def _growing(kernel: Attention, place: int | None) -> bytes:
    """Bits of the first key's weight where the largest logit is the last, and half of it at a place."""
    logits = (80.0 if kernel.out.precision > 24 else 36.0) + np.arange(WIDTH) / 4
    keys, values = np.full(KEYS, FAR), np.zeros((KEYS, WIDTH))
    keys[0], keys[-1] = 0.0, 1.0
    if place is not None:
        keys[place] = 0.5
    values[0], values[-1] = 1.0, -kernel.fmt.round(np.exp(-logits))
    return np.diagonal(kernel(logits, keys, values)).tobytes()


def _one_by_one(kernel: Attention, logits: Array, lift: float) -> Array:
    """What a key of each logit and value `lift` gives beside one of logit 0 and value 0."""
    values = np.zeros((2, WIDTH))
    values[1] = lift
    result: Array = kernel(logits, np.array([0.0, 1.0]), values)[:, 0]
    return result


def _rounded(x: Array, fmt: str, factor: float) -> Array:
    return Format.of(fmt).round(x * factor, overflow="saturate") / factor


def _reaches(fmt: str, factor: float, least: Value | None) -> bool:
    """Whether the smallest weight that counts may be of the format: its smallest number, half of it, or normal one."""
    smallest, normal = (np.floor(np.log2(size / factor)) for size in (Format.of(fmt).eta, Format.of(fmt).min_normal))
    return least is None or fmt in ("f32", "f64") or least in (smallest, smallest - 1, normal)


def _logits(fmt: Format) -> Array:
    return fmt.round(-np.random.default_rng(25).uniform(0.05, 4.0, 2 * WIDTH))
