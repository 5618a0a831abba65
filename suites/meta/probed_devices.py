"""Simulated devices for the tests of probes: those of the table, and others that differ from them in one parameter."""

from dataclasses import replace

from lastbit.references.accumulator_table import ENGINES
from lastbit.references.accumulators import Accumulator
from lastbit.suites.probes.access import Access, Shape, simulated

#: Every engine of the table once a set of parameters and formats.
TABLE = (
    ("v100", "f16"),
    ("a100", "f16"),
    ("a100", "bf16"),
    ("a100", "tf32"),
    ("ada", "e4m3fn"),
    ("ada", "e5m2"),
    ("h100", "f16"),
    ("h100", "bf16"),
    ("h100", "tf32"),
    ("h100", "e4m3fn"),
    ("h100", "e5m2"),
    ("b200", "bf16"),
    ("b200", "e4m3fn"),
    ("mi100", "f16"),
    ("mi100", "bf16"),
    ("mi250", "f16"),
    ("mi250", "bf16"),
    ("mi300", "f16"),
    ("mi300", "tf32"),
    ("mi300", "e4m3fnuz"),
)
assert set(TABLE) <= set(ENGINES)

#: Fields of an accumulator that arithmetic depends on: a name and a source do not add.
FIELDS = tuple(name for name in Accumulator.__slots__ if name not in ("name", "source"))


def devices() -> dict[str, tuple[Accumulator, str, str]]:
    """(accumulator, operands' format, result's format) by name: the table's."""
    return {f"{device} {fmt}": (Accumulator.of(device, fmt), fmt, "f32") for device, fmt in TABLE}


def perturbed() -> dict[str, tuple[Accumulator, str, str]]:
    """Devices that differ from one of the table's in one parameter: what a datasheet must tell apart."""
    found = {}
    for device, fmt in TABLE:
        model = Accumulator.of(device, fmt)
        for name, changes in _changes(model).items():
            found[f"{device} {fmt} {name}"] = (replace(model, **changes), fmt, "f32")
    return found


def plain() -> dict[str, tuple[Accumulator, str, str]]:
    """Sums with one rounding an operation, in each format and order, and sums in f16 of a matrix engine."""
    f32 = Accumulator.of("f32")
    orders = {
        "sequential": {"order": "sequential"},
        "mul-add": {"order": "sequential", "fma": False},
        "pairwise": {"order": "pairwise", "fma": False, "addend": "last"},
        "lanes": {"order": "lanes", "width": 8, "addend": "last"},
        "blocked": {"order": "blocked", "width": 16, "addend": "last"},
        "split": {"order": "split", "width": 4, "addend": "last"},
        "truncated": {"order": "sequential", "rounding": "toward-zero"},
    }
    found = {f"f32 {name}": (replace(f32, **changes), "f32", "f32") for name, changes in orders.items()}
    for fmt in ("f16", "bf16", "f64"):
        found[f"{fmt} sequential"] = (replace(Accumulator.of(fmt), order="sequential"), fmt, fmt)
    found["h100 f16 carried in f16"] = (Accumulator.of("h100", "f16", carried="f16"), "f16", "f16")
    fp8 = Accumulator.of("ada", "e4m3fn")
    found["ada e4m3fn promoted"] = (replace(fp8, promote=32), "e4m3fn", "bf16")
    found["h100 f16 split"] = (replace(Accumulator.of("h100", "f16"), order="split", width=2), "f16", "f32")
    return found


def access(accumulator: Accumulator, operands: str, out: str, k: int = 64) -> Access:
    """The access to a simulated device of these formats."""
    return simulated(accumulator, {"a": operands, "b": operands, "out": out}, Shape(32, 32, k))


def _changes(model: Accumulator) -> dict[str, dict[str, object]]:
    if model.engine == "chain":
        return {"p-1": {"precision": model.precision - 1}, "flush": {"flush": not model.flush}}
    changes: dict[str, dict[str, object]] = {
        "F+1": {"fraction_bits": model.fraction_bits + 1},
        "F-1": {"fraction_bits": model.fraction_bits - 1},
        "g halved": {"terms": model.terms // 2},
        "flush": {"flush": True},
    }
    if model.engine == "fused":
        changes["nearest"] = {"rounding": "nearest-even"}
        changes["down"] = {"alignment": "down"}
        changes["late"] = {"addend": "last"}
    if model.engine == "cdna3":
        changes["interleaving"] = {"interleaved": not model.interleaved}
    return changes
