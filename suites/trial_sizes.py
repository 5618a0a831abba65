"""The words that stand for sizes in a case, as numbers: tile, overtile, undertile, fair, long."""

from collections.abc import Mapping
from functools import lru_cache

from lastbit.case import Trial
from lastbit.references.accumulators import Accumulator
from lastbit.suites.trials import accumulator

#: A sum is "long" as far as its bound stays below this share of sum |a_i b_i|: a quarter of the 2 % that every budget
#: must tell from the truth (vacuity.py).
LONG_SHARE = 0.005
FAIR, SHORTEST = 129, 4
LONGEST = {"smoke": 2048, "standard": 8192, "full": 16384}
#: Tile of a kernel that does not say what its is.
TILE = 32


def resolved(trial: Trial, longest: Mapping[str, int] = LONGEST) -> dict[str, int]:
    """The case's sizes as numbers, words resolved against the kernel's tile and contract.

    `longest` is what "long" may be at most, by tier.
    """
    return {name: _size(trial, name, size, longest) for name, size in trial.case.sizes}


def _size(trial: Trial, name: str, size: int | str, longest: Mapping[str, int]) -> int:
    if isinstance(size, int):
        return size
    if size in ("long", "fair"):
        return _within_share(accumulator(trial), longest[trial.tier] if size == "long" else FAIR)
    tile = trial.kernel.tile.get(name, TILE)
    return {"tile": tile, "overtile": tile + 1, "undertile": tile - 1}[size]


@lru_cache
def _within_share(chosen: Accumulator, longest: int) -> int:
    n = longest
    while n > SHORTEST and chosen.coefficient(n) > LONG_SHARE:
        n //= 2
    return n
