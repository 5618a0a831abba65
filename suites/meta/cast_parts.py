"""What the right and the wrong casts of the tests are made of, on NumPy arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit import numpy_arrays
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.formats import Format

Array = Any
Run = Callable[[Array], Array]
Fault = tuple[str, Run, dict[str, str], Contract, frozenset[str]]
Right = tuple[str, Run, dict[str, str], Contract]

PLAIN = Contract()
SATURATING = Contract(overflow="saturate")
ZEROING = Contract(overflow="saturate", nan="zero")
STOCHASTIC = Contract(output_rounding="stochastic", deterministic=False)


def pair(x: str, out: str) -> dict[str, str]:
    return {"x": x, "out": out}


def values(x: Array) -> Array:
    return np.asarray(x).astype(np.float64)


def encoded(x: Array, out: str, **options: Any) -> Array:
    """`x` rounded to `out` by the proved rounding, as an array of its type."""
    return Format.of(out).encode(values(x), **options).view(numpy_arrays.dtype(out))


def codes(y: Array) -> Array:
    return y.view(f"u{y.itemsize}")


def of_codes(held: Array, out: str) -> Array:
    return np.ascontiguousarray(held, Format.of(out).code_dtype).view(numpy_arrays.dtype(out))


def kernel(
    name: str, run: Run, formats: dict[str, str], contract: Contract, features: frozenset[str] = frozenset()
) -> Kernel:
    def call(x: Array, **keywords: Array) -> Array:
        with np.errstate(all="ignore"):
            return run(x, **keywords)

    return Kernel(
        name=f"zoo/{name}",
        op="cast",
        run=call,
        formats=formats,
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        features=features,
    )
