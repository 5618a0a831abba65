"""What quantizing kernels take and return: operand names, formats and storage, from the kernel's scaling."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from lastbit.contract import Contract
from lastbit.errors import KernelError

if TYPE_CHECKING:
    from lastbit.kernel import Kernel
    from lastbit.references.scaling import Scaling

#: Ops with a scaling of their result or of their first operand.
SCALED_OPS = ("quantize", "dequantize")
#: The format that a kernel of such an op names itself: the one that is not the scaling's.
NAMED = {"quantize": "x", "dequantize": "out"}


def scaling_of(kernel: "Kernel", contract: Contract | None = None, operand: str = "") -> "Scaling":
    """The kernel's scaling (of scaled_gemm's `operand`) with what `contract` (the kernel's own) puts in its place.

    Raises KernelError when the kernel has none, or one that references.scaling does not know.
    """
    from lastbit.references.scaling import Scaling, ScalingError, with_contract

    chosen: Any = kernel.scaling
    if isinstance(chosen, Mapping):
        chosen = chosen.get(operand)
    if not isinstance(chosen, str | Scaling):
        of, given = (f" of {operand}", chosen) if operand else ("", kernel.scaling)
        raise KernelError(
            f"kernel {kernel.name}: scaling{of} is {given!r}, expected a Scaling or the name of one; "
            "Scaling.names() has all"
        )
    promise = contract or kernel.contract
    try:
        arithmetic = None if kernel.op == "dequantize" else promise.scale_arithmetic
        scaling = with_contract(chosen, promise.scale_rule, arithmetic)
        if promise.output_rounding != Contract().output_rounding:
            scaling = replace(scaling, rounding=promise.output_rounding)
        if promise.nan is not None:
            scaling = replace(scaling, nan=promise.nan)
        return scaling if promise.overflow is None else replace(scaling, overflow=promise.overflow)
    except ScalingError as error:
        raise KernelError(f"kernel {kernel.name}: {error}") from error


def product_scalings(kernel: "Kernel") -> "tuple[Scaling | None, Scaling | None]":
    """The scalings of scaled_gemm's a and b: one for both, or a mapping in which None is a plain operand.

    Raises KernelError for one that references.scaling does not know, one whose codes are worth no binary fraction of
    few bits (tables, steps of 127), or when both are plain.
    """
    from lastbit.references.formats import Format
    from lastbit.references.scaling import Scaling, ScalingError

    chosen: Any = kernel.scaling
    named = [chosen.get(name) if isinstance(chosen, Mapping) else chosen for name in "ab"]
    if named == [None, None]:
        raise KernelError(f"kernel {kernel.name}: neither a nor b has a scaling; give one, or make it a gemm")
    try:
        a, b = (None if one is None else Scaling.of(one) for one in named)
    except ScalingError as error:
        raise KernelError(f"kernel {kernel.name}: {error}") from error
    for one in (a, b):
        if one is not None and (one.steps & (one.steps - 1) or Format.of(one.element).kind == "table"):
            raise KernelError(
                f"kernel {kernel.name}: scaling {one.name} has steps {one.steps} of {one.element}; a scaled product is "
                "judged for powers of two, and no table"
            )
    return a, b


def parts(scaling: "Scaling") -> dict[str, str]:
    """The formats of what quantize returns and dequantize takes, in order: codes, scale, zero_point, global_scale."""
    known = {
        "codes": scaling.element,
        "scale": scaling.scale_format,
        "zero_point": scaling.zero_point,
        "global_scale": scaling.global_scale,
    }
    return {name: fmt for name, fmt in known.items() if fmt is not None}


def operand_names(kernel: "Kernel") -> tuple[str, ...]:
    """The names of the operands that the kernel is called with, in order.

    Raises KernelError as `scaling_of`.
    """
    from lastbit.kernel import OPERANDS

    if kernel.op == "quantize":
        scaling = scaling_of(kernel)
        return ("x", *(name for name in parts(scaling) if name != "codes")) if scaling.rule == "given" else ("x",)
    if kernel.op == "dequantize":
        return tuple(parts(scaling_of(kernel)))
    return tuple(name for name in OPERANDS[kernel.op] if name != "out")


def filled(kernel: "Kernel", formats: Mapping[str, str]) -> dict[str, str]:
    """`formats` with those that the scaling decides: "out" of quantize, the operands of dequantize.

    Raises KernelError where a format that is given is not the scaling's, and as `scaling_of`.
    """
    scaling = scaling_of(kernel)
    known = parts(scaling)
    if kernel.op == "quantize":
        known = {"out": scaling.element} | ({} if scaling.rule != "given" else {n: known[n] for n in list(known)[1:]})
    for name, fmt in formats.items():
        if name in known and fmt != known[name]:
            raise KernelError(
                f"kernel {kernel.name}: formats say that {name} is {fmt}, but scaling {scaling.name} has {known[name]}"
            )
    whole = {**known, **formats}
    order = ("x", *(name for name in whole if name not in ("x", "out")), "out")
    return {name: whole[name] for name in order if name in whole}


def holder(fmt: str) -> str:
    """The format of an array that holds one code of `fmt` an element.

    It is `fmt` itself from 8 bits on, else u8, and i8 (the value, its sign extended) for i4.
    """
    narrow = {"i4": "i8", "u4": "u8", "nf4": "u8", "e2m1fn": "u8", "e2m3fn": "u8", "e3m2fn": "u8"}
    return narrow.get(fmt, fmt)


def stored(scaling: "Scaling", shape: tuple[int, ...]) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    """Name, shape and format of each array that holds a quantized tensor of `shape`, in order.

    Codes of a packing are shorter along the last axis; a swizzled scale is one row of bytes, the scales of all leading
    axes taken as rows.
    """
    found = []
    for name, fmt in parts(scaling).items():
        if name == "codes":
            found.append((name, packed_shape(scaling, shape), "u8" if scaling.packing != "none" else holder(fmt)))
        elif name == "global_scale":
            found.append((name, (), fmt))
        else:
            scales = scaling.scale_shape(shape)
            if name == "scale" and scaling.scale_layout == "swizzled-128x4":
                rows, columns = prod(scales[:-1]), scales[-1]
                scales = (-(-rows // 128) * -(-columns // 4) * 512,)
            found.append((name, scales, holder(fmt)))
    return tuple(found)


def packed_shape(scaling: "Scaling", shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the array of codes of a tensor of `shape`: whole units of bytes along the last axis."""
    numbers, size = _unit(scaling)
    return (*shape[:-1], -(-shape[-1] // numbers) * size) if numbers > 1 else shape


def unpacked_shape(scaling: "Scaling", shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the tensor whose codes are an array of `shape`; a unit that was filled up counts whole."""
    numbers, size = _unit(scaling)
    return (*shape[:-1], shape[-1] // size * numbers) if numbers > 1 else shape


def _unit(scaling: "Scaling") -> tuple[int, int]:
    """How many codes share how many whole bytes."""
    from lastbit.references.packing import UNIT

    numbers = UNIT[scaling.packing]
    return numbers, 3 if numbers == 4 else 1
