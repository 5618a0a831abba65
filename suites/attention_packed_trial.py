"""What the checks of packed batches share: lengths by pattern, operands, sequences cut out, and the guarded call."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lastbit.case import Trial
from lastbit.errors import UsageError
from lastbit.references.attention_data import reason_not
from lastbit.references.attention_packed_data import NAMES, Lengths, cumulative, packed_operands
from lastbit.references.data import Operand
from lastbit.suites.attention_trial import call_options, drawn_formats, sizes
from lastbit.suites.proofs import Formats, drawn_once
from lastbit.suites.trials import Given, lacking, seed_of, unplaceable

#: Operands kept for the next kernel that is judged on the same case.
KEPT = 24
#: (queries, keys) of the sequences, by pattern, from the largest of each. They meet tiles at, below and above their
#: ends; no two neighbours have the same lengths.
PATTERNS: dict[str, Callable[[int, int], Lengths]] = {
    "mixed": lambda q, k: [(3, 5), (q, k), (1, 1), (q - 1, k - 2), (1, k), (q, 2), (q - 2, k - 1)],
    "self": lambda q, k: [(q, q), (1, 1), (q - 1, q - 1), (2, 2), (q - 2, q - 2)],
    "decode": lambda q, k: [(1, k), (1, 1), (1, k - 1), (1, 2)],
    "empty": lambda q, k: [(0, 0), (q, k), (0, 3), (2, 0), (q - 1, k - 1), (0, 0)],
    "one": lambda q, k: [(q, k)],
    "many": lambda q, k: [(1 + n % q, 1 + (n + 2) % k) for n in range(19)],
}
#: Lengths listed one by one.
LISTED = re.compile(r"\d+x\d+(\+\d+x\d+)*")


@dataclass(frozen=True, slots=True)
class Drawn:
    """Arguments of references.attention_packed_data.packed_operands, hashable."""

    recipe: str
    formats: Formats
    sizes: tuple[tuple[str, int], ...]
    lengths: tuple[tuple[int, int], ...]
    seed: int
    options: tuple[tuple[str, Any], ...]


def lengths(trial: Trial) -> Lengths:
    """(queries, keys) of the case's sequences: by a pattern's name, or listed, as "3x5+1x2".

    Raises UsageError for a pack that is neither.
    """
    counts, pack = sizes(trial), str(dict(trial.case.options)["pack"])
    if pack in PATTERNS:
        return PATTERNS[pack](counts["lq"], counts["lk"])
    if not LISTED.fullmatch(pack):
        known = ", ".join(PATTERNS)
        raise UsageError(f"case {trial.case.id}: pack is {pack!r}, expected one of {known}, or lengths such as 3x5+1x2")
    return [(int(lq), int(lk)) for lq, _, lk in (one.partition("x") for one in pack.split("+"))]


def listed(found: Lengths) -> str:
    """The sequences' lengths as a case's option "pack"."""
    return "+".join(f"{lq}x{lk}" for lq, lk in found)


def inputs(trial: Trial, *, shift: int = 0, backwards: bool = False) -> Given:
    """The trial's operands and options; another `shift` draws other data, `backwards` has other lengths of the same
    sums."""
    found = tuple(lengths(trial))
    drawn = Drawn(
        trial.case.recipe,
        tuple(drawn_formats(trial).items()),
        tuple(sizes(trial).items()),
        found[::-1] if backwards else found,
        seed_of(trial, shift),
        (*call_options(trial).items(), ("causal_alignment", trial.contract.causal_alignment)),
    )
    return Given(_operands(drawn), call_options(trial), drawn)


def has_packed(trial: Trial) -> str:
    """ "" if the kernel takes packed batches and the case suits it, else why not."""
    options, counts = dict(trial.case.options), sizes(trial)
    features = {"packed", *(options.keys() & {"causal", "window", "scale"})}
    features |= {"gqa"} if counts["hkv"] != counts["hq"] else set()
    features |= {"dv"} if counts["dv"] != counts["d"] else set()
    missing = lacking(trial, features)
    if missing:
        return missing
    asked = {**call_options(trial), "causal_alignment": trial.contract.causal_alignment}
    recipe, formats = trial.case.recipe, drawn_formats(trial)
    keys = sorted({lk for _, lk in lengths(trial) if lk})
    reasons = (reason_not(recipe, formats, {**counts, "lk": lk}, asked) for lk in keys)
    return next(filter(None, reasons), "") or unplaceable(trial)


def spans(given: Given) -> list[tuple[slice, slice]]:
    """The queries and the keys of each sequence."""
    cuts = [given.operands[name].values.astype(np.int64).tolist() for name in NAMES]
    pairs = [[slice(a, b) for a, b in pairwise(cu)] for cu in cuts]
    return list(zip(*pairs, strict=True))


def taken(given: Given, order: list[int]) -> tuple[Given, Any]:
    """The sequences of these numbers, in this order, as a batch; and where their queries lie in that of `given`."""
    parts = [spans(given)[n] for n in order]
    rows, keys = (np.concatenate([np.arange(part[side].start, part[side].stop) for part in parts]) for side in (0, 1))
    cut = {name: _cut(given.operands[name], rows if name == "q" else keys) for name in ("q", "k", "v")}
    sums = cumulative([(q.stop - q.start, k.stop - k.start) for q, k in parts])
    return Given({**cut, **sums}, given.options), (slice(None), slice(None), rows)


def filled(given: Given, first: int, value: float) -> tuple[Given, Any]:
    """`given` with every second sequence, but not number `first`, overwritten by a value; where the others' queries
    lie."""
    own = spans(given)[first::2]
    changed = {}
    for name, side in (("q", 0), ("k", 1), ("v", 1)):
        operand = given.operands[name]
        values = np.full(operand.values.shape, value)
        for span in own:
            values[:, :, span[side]] = operand.values[:, :, span[side]]
        changed[name] = Operand.of(values, operand.format)
    rows = np.concatenate([np.arange(span[0].start, span[0].stop) for span in own])
    return given.changed(**changed), (slice(None), slice(None), rows)


def _cut(operand: Operand, rows: Any) -> Operand:
    return Operand(operand.format, operand.codes[:, :, rows].copy(), operand.values[:, :, rows].copy())


@drawn_once(KEPT)
def _operands(drawn: Drawn) -> dict[str, Operand]:
    return packed_operands(
        drawn.recipe,
        dict(drawn.formats),
        dict(drawn.sizes),
        drawn.lengths,
        drawn.seed,
        options=dict(drawn.options),
    )
