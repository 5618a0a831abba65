"""What the providers of other people's quantizers share: their kernels as data, and which parts a library lacks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

if TYPE_CHECKING:
    from lastbit.references.scaling import Scaling

#: Any number of leading axes; and numbers that fill no group.
WHOLE, TAILS = frozenset({"batch"}), frozenset({"batch", "tails"})


@dataclass(frozen=True, slots=True)
class Family:
    """Kernels that need the same entry points of a library."""

    #: A glob of their names.
    names: str
    #: The module, and what has to be in it.
    module: str
    attributes: tuple[str, ...]
    kernels: Callable[[], Iterable[Kernel]]


def settled(families: Iterable[Family], library: str) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """The kernels of the families whose entry points are there, and what the others lack, by their names."""
    found: list[Kernel] = []
    missing: dict[str, str] = {}
    for family in families:
        lacking = _lacking(family)
        if lacking:
            missing[family.names] = f"changed upstream ({library} has no {lacking})"
        else:
            found += family.kernels()
    return tuple(found), missing


def quantizer(
    name: str,
    run: Callable[..., Any],
    scaling: "Scaling",
    formats: Iterable[str],
    source: str,
    *,
    features: frozenset[str] = WHOLE,
    **fields: Any,
) -> Kernel:
    """A kernel of quantize on the CPU, for each of the formats of x; `fields` are others of Kernel."""
    return Kernel(
        name=name,
        op="quantize",
        run=run,
        formats=tuple({"x": fmt} for fmt in formats),
        contract=Contract(source=source),
        devices=("cpu",),
        features=features,
        scaling=scaling,
        **fields,
    )


def dequantizer(
    name: str,
    run: Callable[..., Any],
    scaling: "Scaling",
    out: str,
    source: str,
    *,
    order: str = "once",
    features: frozenset[str] = WHOLE,
    **fields: Any,
) -> Kernel:
    """A kernel of dequantize on the CPU to the format `out`, its products rounded by `order`."""
    return Kernel(
        name=name,
        op="dequantize",
        run=run,
        formats={"out": out},
        contract=Contract(scale_arithmetic=order, source=source),
        devices=("cpu",),
        features=features,
        scaling=scaling,
        **fields,
    )


def _lacking(family: Family) -> str:
    try:
        module = import_module(family.module)
    except ImportError:
        return family.module
    return next((f"{family.module}.{name}" for name in family.attributes if not hasattr(module, name)), "")
