"""The KV append check that lives a cache's life: sequences grow, fork and are evicted, and read back what is theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lastbit.case import Trial
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_cache import gather
from lastbit.references.kv_cache_data import integers
from lastbit.references.kv_pages import OutOfPagesError, Pool
from lastbit.suites.kv_append_trial import CACHES, caches, inputs, judge_all, same_codes, stored
from lastbit.suites.trials import Given, obtain
from lastbit.verdict import Outcome, Verdict

Codes = NDArray[np.unsignedinteger]

#: Operations of a life, and the most tokens of one append.
OPERATIONS, MOST_TOKENS = 24, 5


@dataclass(slots=True)
class Life:
    """A cache while it lives: its codes, who holds which page, and the plain list of each sequence's tokens."""

    trial: Trial
    given: Mapping[str, Operand]
    pool: Pool
    cache: dict[str, Codes]
    #: Codes of the tokens, by cache.
    stored: dict[str, Codes]
    #: Tokens of each sequence, by their numbers among those given.
    books: dict[int, list[int]] = field(default_factory=dict)
    used: int = 0
    born: int = 0


def lifecycle(trial: Trial) -> Verdict:
    """Each sequence reads back its own tokens after every append, whatever was shared, copied, freed or used again.

    Pages are handed out by references.kv_pages.Pool, and those freed are filled with NaN before they are used again.
    """
    given, rng = inputs(trial).operands, np.random.default_rng(trial.seed)
    life = Life(
        trial,
        given,
        Pool(*given["k_cache"].codes.shape[:2]),
        {name: given[name].codes.copy() for name in CACHES},
        {name: stored(trial.contract, given, name[0]) for name in CACHES},
    )
    verdict = Verdict(Outcome.VACUOUS, "nothing was appended")
    for step in range(OPERATIONS):
        kind = str(rng.choice(["append", "append", "append", "fork", "evict"])) if life.books else "append"
        if kind == "fork":
            _fork(life, int(rng.choice(list(life.books))))
        elif kind == "evict":
            _evict(life, int(rng.choice(list(life.books))))
        else:
            sequence = int(rng.choice([*life.books, life.born]))
            verdict = _append(life, sequence, int(rng.integers(1, MOST_TOKENS + 1)))
        if verdict.outcome.failed:
            return replace(verdict, reason=f"step {step + 1}, {kind}: {verdict.reason}")
    return replace(verdict, notes={**verdict.notes, "lifecycle": f"{OPERATIONS} operations, {life.born} sequences"})


def _fork(life: Life, parent: int) -> None:
    life.pool.fork(parent, life.born)
    life.books[life.born] = list(life.books[parent])
    life.born += 1


def _evict(life: Life, sequence: int) -> None:
    del life.books[sequence]
    freed = list(life.pool.evict(sequence))
    for name in CACHES:
        fmt = Format.of(life.given[name].format)
        life.cache[name][freed] = fmt.encode(np.array(np.nan if fmt.has_nan else fmt.lowest))


def _append(life: Life, sequence: int, count: int) -> Verdict:
    """The kernel appends; pages that others hold too are copied first, and the oldest sequence goes if none is free."""
    while True:
        try:
            placed = life.pool.append(sequence, count)
            break
        except OutOfPagesError:
            _evict(life, next(iter(life.books)))
    if sequence == life.born:
        life.born += 1
    for source, target in placed.copies:
        for name in CACHES:
            life.cache[name][target] = life.cache[name][source]
    rows = np.arange(life.used, life.used + count) % life.given["k"].codes.shape[0]
    life.used += count
    given = Given(
        {
            **life.given,
            **{name: _with(life.given[name], life.given[name].codes[rows]) for name in ("k", "v")},
            **{name: _with(life.given[name], life.cache[name]) for name in CACHES},
            "slots": integers(np.array(placed.slots, np.int64)),
        }
    )
    got = obtain(life.trial, given)
    verdict = judge_all(life.trial, given, got)
    if verdict.outcome.failed:
        return verdict
    life.cache = {name: codes.copy() for name, codes in caches(got).items()}
    life.books.setdefault(sequence, []).extend(rows.tolist())
    return _read_back(life, verdict)


def _read_back(life: Life, verdict: Verdict) -> Verdict:
    """`verdict`, or what a sequence reads instead of its own tokens."""
    layout = life.pool.layout(*life.books)
    for row, (sequence, tokens) in enumerate(life.books.items()):
        for name in CACHES:
            read = gather(life.cache[name], layout, row).swapaxes(0, 1)
            wrong = ~same_codes(read, life.stored[name][tokens], life.given[name].format)
            if wrong.any():
                token = int(np.argwhere(wrong)[0][0])
                reason = f"sequence {sequence} reads another token than its own from {name} at {token} of {len(tokens)}"
                return replace(verdict, outcome=Outcome.LAW_BROKEN, reason=reason, where=f"{name}, token {token}")
    return verdict


def _with(operand: Operand, codes: Codes) -> Operand:
    return Operand(operand.format, codes, Format.of(operand.format).decode(codes))
