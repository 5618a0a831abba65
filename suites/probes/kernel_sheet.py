"""The datasheet of a GEMM kernel: its model in one class of shapes, and what holds across shapes and calls."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from lastbit.kernel import Kernel, limit_of
from lastbit.references.formats import Format
from lastbit.suites.probes import invariance_probes, order_probes, sheet
from lastbit.suites.probes.access import Access, Shape, of_kernel
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.draws import noise
from lastbit.suites.probes.integer_probes import is_integer
from lastbit.suites.probes.repeat_probe import repeatable
from lastbit.suites.probes.sheet import Sheet

#: Rows, columns and terms of the class of shapes that a model is of.
SIDE, TERMS = 64, 64


@dataclass(frozen=True, slots=True)
class KernelSheet:
    """A kernel's datasheet and the answers that need no model."""

    sheet: Sheet
    more: tuple[Answer, ...]
    #: Whether one order of additions is that of every class of shapes that was looked at.
    one_order: bool


def kernel_sheet(kernel: Kernel, formats: Mapping[str, str], device: str) -> KernelSheet:
    """Put every probe to a GEMM kernel in these formats.

    Raises AccessError where the kernel gives no result.
    """

    @cache
    def at(shape: Shape) -> Access:
        return of_kernel(kernel, formats, device, shape)

    shape = shape_of(kernel, formats)
    access = at(shape)
    counts = shape.k * 3 // 2 <= 2 ** Format.of(formats["out"]).precision and not is_integer(access)
    made = sheet.sheet(access, at(replace(shape, k=shape.k * 3 // 2)) if counts else None)
    if is_integer(access):  # exact sums have no order, and no places
        return KernelSheet(made, (_repeatable(access, device),), one_order=False)
    limit = limit_of(kernel, formats)
    orders, one_order = order_probes.shape_trees(at, shape, limit)
    more = (
        _repeatable(access, device),
        invariance_probes.places(access),
        *(invariance_probes.batch_invariance(at, shape, side) for side in ("m", "n")),
        orders,
        _thread_orders(at, shape, limit, device),
    )
    return KernelSheet(made, more, one_order)


def shape_of(kernel: Kernel, formats: Mapping[str, str]) -> Shape:
    """The class of shapes that a kernel's model is of: as many terms as its results count, and its limit allows."""
    terms = min(TERMS, 2 ** Format.of(formats["out"]).precision)
    limit = limit_of(kernel, formats)
    side = SIDE
    while limit is not None and side > 8 and side * side * terms * 4 > limit:
        side //= 2
    return Shape(side, side, terms)


def _repeatable(access: Access, device: str) -> Answer:
    operands = noise(access.shape, access.formats, 18)
    return repeatable(lambda: access.product(*operands, None), device)


def _thread_orders(at: invariance_probes.At, shape: Shape, limit: int | None, device: str) -> Answer:
    if device.partition(":")[0] != "cpu":
        return undecided("P20", "thread_orders", f"a kernel on {device} does not use the host's threads")
    return order_probes.thread_trees(at, shape, limit)
