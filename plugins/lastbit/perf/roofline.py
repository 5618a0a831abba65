"""Roofline: how long a call takes at the limits of its device, what bounds it, and what other formats would buy."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastbit.kernel import REDUCTIONS, formats_text
from lastbit.perf.cost import Cost, Given, cost
from lastbit.perf.limits import Limits
from lastbit.scaled_operands import product_scalings

if TYPE_CHECKING:
    from lastbit.kernel import Kernel
    from lastbit.references.formats import Format

#: Operands of matrix products by op; the widest decides which units multiply them.
MULTIPLIED = {
    "gemm": ("a", "b"),
    "scaled_gemm": ("a", "b"),
    "attention": ("q", "k", "v"),
    "paged_attention": ("q", "k_cache", "v_cache"),
}
#: Format whose products' peak bounds operations outside of them: one fused multiply-add counts two, as there.
OTHER = "f32"


@dataclass(frozen=True, slots=True)
class Roofline:
    """A call beside the limits of its device."""

    #: "compute" or "memory": what takes longer at its limit.
    bound: str
    #: Seconds of a call at the limit: less is not possible, as far as the limits are the device's.
    seconds: float
    #: Seconds of the operations alone (0 where no peak is known), and of the bytes alone.
    compute_s: float
    memory_s: float
    #: seconds / measured seconds: 1 is at the limit; above 1, the kernel is faster than what the limits were measured
    #: by. 0 where nothing was measured.
    fraction: float = 0.0
    #: Figures that are missing, or were taken on a busy machine: the limit is then a guess.
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """The cost model of one case in one set of formats."""

    formats: str
    cost: Cost
    roofline: Roofline
    #: Seconds at the limit of the first row / of this one: what a change of formats would buy, of kernels at the limit.
    gain: float = 1.0
    #: Seconds of a call as measured, and what the change bought; 0 where the kernel has not these formats.
    measured_s: float = 0.0
    measured_gain: float = 0.0


def roofline(found: Cost, limits: Limits, fmt: str = OTHER, *, cold: bool = True, measured_s: float = 0.0) -> Roofline:
    """`found` beside `limits`; `fmt` is the format of its products' operands.

    Operations and bytes overlap, and so do products with other operations: the longest of the three bounds the call.
    Not `cold`: the operands are in a cache that holds all bytes of a call, and so is its bandwidth the limit.
    Source: Williams, Waterman and Patterson, CACM 52 (2009).
    """
    unsure = [name for name in limits.busy if name.startswith("copy")]
    compute = 0.0
    for operations, kind in ((found.matrix, fmt), (found.operations - found.matrix, OTHER)):
        if not operations:
            continue
        peak, measured = limits.peak(kind)
        if not measured:
            unsure.append(f"no peak of {kind}")
        names = dict.fromkeys((f"gemm {kind}", f"gemm {measured}"))
        unsure += [name for name in names if name in limits.busy]
        compute = max(compute, operations / peak if peak else 0.0)
    memory = found.bytes / limits.bandwidth(math.inf if cold else found.bytes)
    seconds = max(compute, memory)
    fraction = seconds / measured_s if measured_s > 0 else 0.0
    return Roofline("compute" if compute > memory else "memory", seconds, compute, memory, fraction, tuple(unsure))


def multiplied(kernel: "Kernel", formats: Mapping[str, str]) -> str:
    """The format that the kernel's products are made in: the widest of their operands', which the others fit into."""
    from lastbit.references.formats import Format

    named = [formats[name] for name in MULTIPLIED.get(kernel.op, ()) if name in formats]
    if kernel.op == "scaled_gemm":
        pairs = zip("ab", product_scalings(kernel), strict=True)
        named = [formats[name] if one is None else one.element for name, one in pairs]
    return max(named, key=lambda fmt: (Format.of(fmt).bits, Format.of(fmt).kind == "float"), default=OTHER)


def narrower(op: str, formats: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    """`formats` with floating-point operands that are wider than f32, bf16 or e4m3fn in that format, each in turn.

    None of an op whose formats are its meaning: casts and quantized operands.
    """
    from lastbit.references.formats import Format

    if op not in (*REDUCTIONS, "gemm", "attention", "paged_attention"):
        return ()
    found: list[dict[str, str]] = []
    for fmt in ("f32", "bf16", "e4m3fn"):
        changed = {name: fmt if _is_wider(Format.of(one), Format.of(fmt)) else one for name, one in formats.items()}
        if changed != dict(formats) and changed not in found:
            found.append(changed)
    return tuple(found)


def rows(
    kernel: "Kernel",
    formats: Mapping[str, str],
    call: Given,
    limits: Limits,
    others: Iterable[Mapping[str, str]] = (),
    *,
    cold: bool = True,
    measured_s: Mapping[str, float] | None = None,
) -> tuple[Row, ...]:
    """The cost model of a call in `formats`, then in each of `others`: what a change of formats would buy.

    `measured_s` has seconds by formats_text, of those that were measured. A predicted gain is of the limits: two
    kernels differ by it that both reach theirs.
    """
    known = measured_s or {}
    found: list[Row] = []
    for one in {formats_text(one): one for one in (formats, *others)}.values():
        name, then = formats_text(one), cost(kernel, one, call.of(one))
        seconds = known.get(name, 0.0)
        line = roofline(then, limits, multiplied(kernel, one), cold=cold, measured_s=seconds)
        first = found[0] if found else Row(name, then, line, measured_s=seconds)
        gain = first.roofline.seconds / line.seconds if line.seconds else 1.0
        found.append(Row(name, then, line, gain, seconds, first.measured_s / seconds if seconds else 0.0))
    return tuple(found)


def text(found: Iterable[Row]) -> str:
    """The rows as a table for a person."""
    from tabulate import tabulate

    head = ("formats", "Mflop", "MB", "flop/byte", "bound", "limit us", "measured us", "reached", "gain", "measured")
    lines = [
        (
            one.formats,
            f"{one.cost.operations / 1e6:.3g}",
            f"{one.cost.bytes / 1e6:.3g}",
            f"{one.cost.intensity:.3g}",
            one.roofline.bound + ("?" if one.roofline.unsure else ""),
            f"{one.roofline.seconds * 1e6:.3g}",
            f"{one.measured_s * 1e6:.3g}" if one.measured_s else "",
            f"{one.roofline.fraction:.0%}" if one.roofline.fraction else "",
            f"{one.gain:.2f} x",
            f"{one.measured_gain:.2f} x" if one.measured_gain else "",
        )
        for one in found
    ]
    return tabulate(lines, head, tablefmt="simple", disable_numparse=True)


def _is_wider(one: "Format", other: "Format") -> bool:
    return one.kind == "float" and one.bits > other.bits
