"""What the right and the wrong casts of the zoo are made of, on NumPy arrays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lastbit import numpy_arrays
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.suites.zoo import specimen
from lastbit.suites.zoo.specimen import Faulty, Variant, maker, story_of

Array = Any
Run = Callable[..., Array]

PLAIN = Contract()
SATURATING = Contract(overflow="saturate")
ZEROING = Contract(overflow="saturate", nan="zero")
STOCHASTIC = Contract(output_rounding="stochastic", deterministic=False)


def pair(x: str, out: str) -> dict[str, str]:
    """The formats of a cast."""
    return {"x": x, "out": out}


def values(x: Array) -> Array:
    """The values in f64."""
    return np.asarray(x).astype(np.float64)


def encoded(x: Array, out: str, **options: Any) -> Array:
    """`x` rounded to `out` by the proved rounding, as an array of its type."""
    return Format.of(out).encode(values(x), **options).view(numpy_arrays.dtype(out))


def codes(y: Array) -> Array:
    """The codes as unsigned integers."""
    return y.view(f"u{y.itemsize}")


def of_codes(held: Array, out: str) -> Array:
    """An array of the format's type with these codes."""
    return np.ascontiguousarray(held, Format.of(out).code_dtype).view(numpy_arrays.dtype(out))


def drawing(run: Run, seed: int = 5) -> Callable[[], Run]:
    """What makes `run` for a build, with a generator of random numbers of its own."""
    return lambda: partial(run, rng=np.random.default_rng(seed))


def kernel(
    name: str, run: Run, formats: dict[str, str], contract: Contract, features: frozenset[str] = frozenset()
) -> Kernel:
    """A cast of the zoo."""

    def call(x: Array, **keywords: Array) -> Array:
        with np.errstate(all="ignore"):
            return run(x, **keywords)

    return specimen.kernel(name, "cast", call, formats, contract, features=features)


def wrong(
    fault: str,
    run: Run,
    x: str,
    out: str,
    *checks: str,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
    make: Callable[[], Run] | None = None,
) -> Faulty:
    """`run` as a faulty cast of class `fault`; its name and story are the function's unless given."""
    known = f"cast-{name or run.__name__.lower()}-{x}-{out}"
    making = make or maker(run)
    return Faulty(
        known,
        lambda: kernel(known, making(), pair(x, out), contract),
        fault,
        story or story_of(run),
        frozenset(checks),
    )


def right(
    run: Run,
    x: str,
    out: str,
    *,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
    make: Callable[[], Run] | None = None,
) -> Variant:
    """`run` as a cast that keeps its contract; the name says so where that is not the default one."""
    declared = "" if contract == PLAIN else "-declared"
    known = f"cast-{name or run.__name__.lower()}-{x}-{out}{declared}"
    making = make or maker(run)
    return Variant(known, lambda: kernel(known, making(), pair(x, out), contract), story or story_of(run))
