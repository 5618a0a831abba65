"""Signatures of native functions: the ctypes type and the source of each argument, checked when they are declared."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lastbit.arrays import itemsize
from lastbit.errors import KernelError
from lastbit.kernel import INDICES, Kernel
from lastbit.native_arguments import (
    ADDRESSES,
    CAPACITY,
    Message,
    Rank,
    Scalar,
    Shape,
    Source,
    Stride,
    Strides,
    operand_of,
)
from lastbit.scaled_operands import operand_names, parts, scaling_of

#: Operands that a case passes by keyword, where the kernel has the feature.
OPTIONAL = {
    "gemm": ("c", "bias"),
    "scaled_gemm": ("bias", "global_scale", "zero_a", "zero_b"),
    "attention": ("mask", "bias", "sinks"),
    "paged_attention": ("k_scale", "v_scale"),
    "kv_append": ("k_scale", "v_scale"),
}
#: Numbers that a case passes by keyword.
SCALARS = {
    "gemm": ("alpha", "beta"),
    "attention": ("scale", "causal", "window", "softcap"),
    "paged_attention": ("causal", "window"),
}
#: What they are in lastbit's own convention, with what stands for one that a case does not give.
NUMBERS = {
    "alpha": (Scalar("alpha", 1.0),),
    "beta": (Scalar("beta", 1.0),),
    "scale": (Scalar("scale", float("nan")),),
    "causal": (Scalar("causal", 0.0),),
    "window": (Scalar("window", -1.0, 0), Scalar("window", -1.0, 1)),
    "softcap": (Scalar("softcap", 0.0),),
}
INTEGERS = (
    *(ctypes.c_int8, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32),
    *(ctypes.c_uint64, ctypes.c_long, ctypes.c_ulong, ctypes.c_longlong, ctypes.c_ulonglong, ctypes.c_char),
    *(ctypes.c_byte, ctypes.c_bool, ctypes.c_size_t, ctypes.c_ssize_t),
)
REALS = (ctypes.c_double, ctypes.c_float)
#: Formats that a pointer to float or double may point to; any other pointer need only have elements of the same width.
POINTED = {ctypes.c_float: ("f32", "tf32"), ctypes.c_double: ("f64",)}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its ctypes type (c_void_p for every address) and what it is in a call."""

    type: Any
    source: Source


def own(kernel: Kernel) -> tuple[Argument, ...]:
    """lastbit's own convention for the kernel's op (docs/native.md): each array in full, the numbers, a message.

    Of every operand in the op's order, of those of its features and of every result: address, rank, shape, strides in
    elements. Then the numbers of its features as double, then `char *message, int64_t capacity`.
    """
    arrays = (*operand_names(kernel), *optional(kernel), *result_names(kernel))
    found: list[Argument] = []
    for name in arrays:
        found += [Argument(ctypes.c_void_p, name), Argument(ctypes.c_int64, Rank(name))]
        found += [Argument(ctypes.c_void_p, Shape(name)), Argument(ctypes.c_void_p, Strides(name))]
    numbers = [number for name in SCALARS.get(kernel.op, ()) if name in kernel.features for number in NUMBERS[name]]
    found += [Argument(ctypes.c_double, number) for number in numbers]
    return (*found, Argument(ctypes.c_void_p, Message()), Argument(ctypes.c_int64, CAPACITY))


def optional(kernel: Kernel) -> tuple[str, ...]:
    """The operands that the kernel's features bring."""
    return tuple(name for name in OPTIONAL.get(kernel.op, ()) if name in kernel.features)


def result_names(kernel: Kernel) -> tuple[str, ...]:
    """The results that the function writes to memory of their own, in order; none of one that changes operands."""
    if kernel.op == "quantize":
        scaling = scaling_of(kernel)
        names = tuple(parts(scaling))
        return names[:1] if scaling.rule == "given" else names
    if kernel.op == "kv_append":
        return ()
    return ("out", "lse") if "lse" in kernel.features else ("out",)


def declared(kernel: Kernel, signature: Iterable[Any]) -> tuple[Argument, ...]:
    """The arguments of `signature`, pairs of ctypes type and source.

    Raises KernelError, naming the argument, for a pair that is none, a type that cannot hold its source, an array that
    the op has not, and where an operand or a result has no pointer.
    """
    found = tuple(_argument(kernel, index, pair) for index, pair in enumerate(signature))
    pointers = {argument.source for argument in found if isinstance(argument.source, str)}
    needed = (*operand_names(kernel), *result_names(kernel))
    if missing := [name for name in needed if name not in pointers]:
        raise KernelError(
            f"kernel {kernel.name}: the signature has no pointer to {', '.join(missing)}; {kernel.op} has "
            f"{', '.join(needed)}, each of which needs one, such as (c_void_p, {missing[0]!r})"
        )
    return found


def _argument(kernel: Kernel, index: int, pair: Any) -> Argument:
    where = f"kernel {kernel.name}: argument {index} of the signature"
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise KernelError(f"{where} is {pair!r}, expected a pair (ctypes type, source), such as (c_void_p, 'out')")
    type, source = pair
    if not isinstance(source, Source):
        raise KernelError(f"{where} is {source!r}, expected an operand's name, a number, or one of Size, Stride, ...")
    _check_names(kernel, where, source)
    pointed = getattr(type, "_type_", None) if isinstance(type, _POINTER) else None
    is_pointer = type in (ctypes.c_void_p, ctypes.c_char_p) or pointed is not None
    if isinstance(source, ADDRESSES):
        if not is_pointer:
            raise KernelError(
                f"{where} is an address ({source!r}) of type {_named(type)}, expected c_void_p or POINTER"
            )
        if isinstance(source, str) and pointed is not None:
            _check_pointed(kernel, where, source, pointed)
        return Argument(ctypes.c_void_p, source)
    real = isinstance(source, float | Scalar)
    if (
        type not in (*INTEGERS, *REALS)
        or (type in REALS and not real)
        or (type in INTEGERS and isinstance(source, float))
    ):
        expected = "c_double or c_float" if real else "an integer such as c_int or c_int64"
        raise KernelError(f"{where} is {source!r} of type {_named(type)}, expected {expected}")
    return Argument(type, source)


_POINTER: Any = type(ctypes.POINTER(ctypes.c_float))


def _check_names(kernel: Kernel, where: str, source: Source) -> None:
    known = (*operand_names(kernel), *optional(kernel), *result_names(kernel))
    name = operand_of(source)
    if isinstance(source, Scalar):
        if source.name not in SCALARS.get(kernel.op, ()):
            numbers = ", ".join(SCALARS.get(kernel.op, ())) or "none"
            raise KernelError(f"{where} is the number {source.name!r}, but {kernel.op} has {numbers}")
    elif (name or isinstance(source, str)) and name not in known:
        raise KernelError(
            f"{where} is of {name!r}, but the kernel's arrays are {', '.join(known)}; those of a feature "
            "(bias, c, mask) come with it: features={...}"
        )
    if isinstance(source, Stride | Strides) and source.unit not in ("elements", "bytes"):
        raise KernelError(f"{where} is in units of {source.unit!r}, expected 'elements' or 'bytes'")


def _check_pointed(kernel: Kernel, where: str, name: str, pointed: Any) -> None:
    """Refuse a typed pointer to a format of another width, or to another number type."""
    format = "i32" if name in INDICES else kernel.format_sets[0].get(name)
    if format is None:
        return
    if ctypes.sizeof(pointed) != itemsize(format) or format not in POINTED.get(pointed, (format,)):
        raise KernelError(
            f"{where} points to {_named(pointed)} of {ctypes.sizeof(pointed)} bytes, but {name} is {format}, of "
            f"{itemsize(format)}; give POINTER of an integer of that width, or c_void_p"
        )


def _named(type: Any) -> str:
    return str(getattr(type, "__name__", type))
