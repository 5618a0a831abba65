"""Roofline: how long a call takes at the limits of its device, what bounds it, and what other formats would buy."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastbit.kernel import formats_text
from lastbit.perf.cost import Cost, Given, cost
from lastbit.perf.limits import Limits
from lastbit.scaled_operands import product_scalings

if TYPE_CHECKING:
    from lastbit.kernel import Kernel

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
    #: Seconds at the limit of the formats that are used now / of these: what a change would buy, at most.
    gain: float = 1.0


def roofline(found: Cost, limits: Limits, fmt: str = OTHER, *, cold: bool = True, measured_s: float = 0.0) -> Roofline:
    """`found` beside `limits`; `fmt` is the format of its products' operands.

    Operations and bytes overlap, and so do products with other operations: the longest of the three bounds the call.
    Not `cold`: the operands are in a cache that holds all bytes of a call, and so is its bandwidth the limit.
    Source: Williams, Waterman and Patterson, CACM 52 (2009).
    """
    unsure = [name for name in limits.busy if name.startswith("copy") or name in (f"gemm {fmt}", f"gemm {OTHER}")]
    compute = 0.0
    for operations, kind in ((found.matrix, fmt), (found.operations - found.matrix, OTHER)):
        peak = limits.peak(kind)
        if operations and peak is None:
            unsure.append(f"no peak of {kind}")
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


def rows(
    kernel: "Kernel",
    formats: Mapping[str, str],
    call: Given,
    limits: Limits,
    others: Iterable[Mapping[str, str]] = (),
    *,
    cold: bool = True,
    measured_s: float = 0.0,
) -> tuple[Row, ...]:
    """The cost model of a call in `formats`, then in each of `others`: what a change of format would buy.

    The gain is of the limits, not of a kernel: it is what two kernels would differ by that both reach theirs. Measure
    it with: lastbit compare --perf.
    """
    now = cost(kernel, formats, call)
    first = roofline(now, limits, multiplied(kernel, formats), cold=cold, measured_s=measured_s)
    found = [Row(formats_text(formats), now, first)]
    for one in others:
        if formats_text(one) != formats_text(formats):
            then = cost(kernel, one, call.of(one))
            line = roofline(then, limits, multiplied(kernel, one), cold=cold)
            found.append(Row(formats_text(one), then, line, first.seconds / line.seconds if line.seconds else 1.0))
    return tuple(found)


def text(found: Iterable[Row]) -> str:
    """The rows as a table for a person."""
    from tabulate import tabulate

    head = ("formats", "Mflop", "MB", "flop/byte", "bound", "limit us", "reached", "gain", "unsure")
    lines = [
        (
            one.formats,
            f"{one.cost.operations / 1e6:.3g}",
            f"{one.cost.bytes / 1e6:.3g}",
            f"{one.cost.intensity:.3g}",
            one.roofline.bound,
            f"{one.roofline.seconds * 1e6:.3g}",
            f"{one.roofline.fraction:.0%}" if one.roofline.fraction else "",
            f"{one.gain:.2f} x" if one.gain != 1 else "",
            ", ".join(one.roofline.unsure),
        )
        for one in found
    ]
    return tabulate(lines, head, tablefmt="simple", disable_numparse=True)
