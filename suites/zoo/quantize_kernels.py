"""Quantizers and dequantizers as kernels of the zoo."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.suites.zoo import specimen
from lastbit.suites.zoo.quantize_parts import Array, Step
from lastbit.suites.zoo.specimen import Faulty, Variant

FEATURES = frozenset({"batch", "tails"})


def kernel(
    name: str,
    run: Step,
    scaling: Any,
    x: str = "f32",
    contract: Contract | None = None,
    op: str = "quantize",
    features: frozenset[str] = FEATURES,
) -> Kernel:
    """A quantizer of the zoo from the format `x`, or a dequantizer to it."""

    def call(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return run(*arrays)

    formats = {"x" if op == "quantize" else "out": x}
    return specimen.kernel(name, op, call, formats, contract or Contract(), features=features, scaling=scaling)


def wrong(
    fault: str,
    name: str,
    run: Step | None,
    scaling: Any,
    x: str,
    *checks: str,
    story: str,
    contract: Contract | None = None,
    op: str = "quantize",
    make: Callable[[], Step] | None = None,
) -> Faulty:
    """`run`, or what `make` makes for each build, as a faulty kernel of class `fault`."""
    known = _known(op, name, scaling, x)
    return Faulty(
        known,
        lambda: kernel(known, make() if make else _given(run), scaling, x, contract, op),
        fault,
        story,
        frozenset(checks),
    )


def right(
    name: str,
    run: Step | None,
    scaling: Any,
    x: str,
    *,
    story: str,
    contract: Contract | None = None,
    op: str = "quantize",
    make: Callable[[], Step] | None = None,
) -> Variant:
    """`run`, or what `make` makes for each build, as a kernel that keeps its contract."""
    known = _known(op, name, scaling, x)
    return Variant(known, lambda: kernel(known, make() if make else _given(run), scaling, x, contract, op), story)


def _known(op: str, name: str, scaling: Any, x: str) -> str:
    return f"{op}-{name}-{scaling if isinstance(scaling, str) else scaling.name}-{x}"


def _given(run: Step | None) -> Step:
    assert run is not None
    return run
