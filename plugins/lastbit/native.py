"""`lastbit.native`: a function of a C or C++ shared library as a kernel under test."""

import ctypes
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import file_digest
from pathlib import Path
from typing import Any

from lastbit import arrays, guards, results
from lastbit.errors import KernelError, LastbitError
from lastbit.kernel import FEATURES, Kernel
from lastbit.native_arguments import (
    CAPACITY,
    Count,
    Laid,
    Leading,
    Message,
    Rank,
    Rows,
    Scalar,
    Shape,
    Size,
    Source,
    Stream,
    Stride,
    Strides,
    is_array,
    laid,
    untold,
    value,
)
from lastbit.native_signature import Argument, declared, own
from lastbit.native_torch import operator
from lastbit.scaled_operands import operand_names

__all__ = [
    "CAPACITY",
    "UNSUPPORTED",
    "Count",
    "Leading",
    "Message",
    "NativeError",
    "Rank",
    "Rows",
    "Scalar",
    "Shape",
    "Size",
    "Source",
    "Stream",
    "Stride",
    "Strides",
    "native",
]
#: The status by which a function says that it does not do what it was called for; 0 is success.
UNSUPPORTED = 1
#: Parts of attention that a native function cannot have: they change which arrays there are from case to case.
BEYOND = frozenset({"gradients", "packed"})
#: Types that a status can have.
STATUSES = (ctypes.c_bool, ctypes.c_int, ctypes.c_uint, ctypes.c_long, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64)
#: Of each library that a kernel was made from, by file name: what a run's environment says of it.
DIGESTS: dict[str, str] = {}


class NativeError(LastbitError):
    """A native function reported an error, or wrote outside its results."""


@dataclass(frozen=True, slots=True)
class NativeFunction:
    """A kernel's `run` that calls a function of a shared library; it can be pickled, so a worker loads it anew."""

    library: str
    symbol: str
    arguments: tuple[Argument, ...]
    #: ctypes type of the status, or None of a function that returns nothing.
    returns: Any
    #: Statuses that mean "unsupported".
    unsupported: tuple[int, ...]
    #: The kernel that this is the run of, without it: names, shapes and formats of operands and results.
    described: Kernel

    def __call__(self, *positional: Any, **keywords: Any) -> Any:
        """Call the function on arrays and return what it wrote.

        Raises NotImplementedError for what the signature cannot express and for the status "unsupported", NativeError
        for another one than 0 and for a write outside a result.
        """
        given = dict(zip(operand_names(self.described), positional, strict=True)) | keywords
        tensors = {name: item for name, item in given.items() if is_array(item)}
        scalars = {name: item for name, item in given.items() if name not in tensors and item is not None}
        _check_expressed(self.arguments, tensors, scalars)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name != "out"}
        border = arrays.of(self.described.framework)
        made = _results(self.described, shapes, tensors)
        tensors |= {name: guarded.tensor for name, guarded in made.items()}
        _invoke(self, {name: laid(tensor) for name, tensor in tensors.items()}, scalars)
        border.synchronize(self.described.devices[0])
        for name, guarded in made.items():
            if damage := guards.canary_damage(guarded, border.host(guarded.buffer)):
                raise NativeError(f"it wrote {damage.count} bytes outside result {name}, first at byte {damage.offset}")
        return _returned(self.described, shapes, tensors)


def native(
    library: str | os.PathLike[str],
    symbol: str,
    signature: Iterable[tuple[Any, Source]] | None = None,
    *,
    op: str,
    formats: Mapping[str, str],
    name: str = "",
    returns: Any = ctypes.c_int,
    unsupported: Iterable[int] = (UNSUPPORTED,),
    features: Iterable[str] = (),
    device: str = "cpu",
    **fields: Any,
) -> Kernel:
    """A kernel of `op` that is the function `symbol` of the shared library `library`.

    `signature` lists its arguments in order, each a pair of ctypes type and source: the name of an operand or result
    (the address of its first element), a number, Size, Stride, Leading, Rows, Count, Rank, Shape, Strides, Scalar,
    Stream, Message. Without one the function follows lastbit's own convention (docs/native.md). `returns` is the
    integer type of its status (0: done), None if it returns nothing; `unsupported` are statuses that say so.
    Results are memory of lastbit's, poisoned, with canaries around. On device "cuda" operands are PyTorch's.

    A `symbol` "namespace::operator" is an operator of PyTorch that the library registers (or that is registered, where
    `library` is ""); its signature is the order of its operands' names.

    Raises KernelError when the library or the symbol is not there, and for a signature that does not fit.
    """
    known = name or f"native/{symbol.replace('::', '.')}"
    if not isinstance(formats, Mapping):
        raise KernelError(f"kernel {known}: formats is {formats!r}, expected one mapping; a function in C has one type")
    where = _located(library) if str(library) else ""
    fields = {"features": frozenset(features), "devices": (device,), **fields}
    make = _operator if "::" in symbol else partial(_function, returns=returns, unsupported=tuple(unsupported))
    kernel = make(where, symbol, signature, known, op, formats, fields)
    _note(where)
    return kernel


def _operator(
    library: str, symbol: str, signature: Any, name: str, op: str, formats: Mapping[str, str], fields: dict[str, Any]
) -> Kernel:
    described = Kernel(name, op, _described, formats, **fields)
    return replace(described, run=operator(library, symbol, name, signature, operand_names(described)))


def _function(
    library: str,
    symbol: str,
    signature: Any,
    name: str,
    op: str,
    formats: Mapping[str, str],
    fields: dict[str, Any],
    returns: Any,
    unsupported: tuple[int, ...],
) -> Kernel:
    features = fields["features"] | (frozenset({"out"}) & FEATURES.get(op, frozenset()))
    framework = "torch" if "cuda" in fields["devices"] else "numpy"
    described = Kernel(name, op, _described, formats, **{"framework": framework, **fields, "features": features})
    _check_op(described)
    if not (returns is None or returns in STATUSES):
        raise KernelError(f"kernel {name}: returns is {returns!r}, expected an integer type such as c_int, or None")
    arguments = own(described) if signature is None else declared(described, signature)
    _handle(name, library, symbol)
    return replace(described, run=NativeFunction(library, symbol, arguments, returns, unsupported, described))


def _described(*_operands: Any, **_keywords: Any) -> Any:
    raise NotImplementedError("a description of a kernel cannot be run")


def _check_op(kernel: Kernel) -> None:
    if beyond := sorted(kernel.features & BEYOND):
        raise KernelError(f"kernel {kernel.name}: a native function cannot have {', '.join(beyond)}; wrap it in Python")
    if kernel.op == "kv_append" and "inplace" not in kernel.features:
        raise KernelError(f"kernel {kernel.name}: a native kv_append changes its caches: give features={{'inplace'}}")


def _located(library: str | os.PathLike[str]) -> str:
    """The absolute path of a file, or a bare name for the loader to find."""
    path = Path(library)
    return str(path.resolve()) if path.exists() or path.name != str(library) else str(library)


def _note(library: str) -> None:
    """Remember which bytes the library is; the loader alone knows where one without a path lies."""
    if Path(library).is_file():
        with open(library, "rb") as file:
            DIGESTS[Path(library).name] = f"sha256:{file_digest(file, 'sha256').hexdigest()[:16]}"


@cache
def _loaded(library: str) -> ctypes.CDLL:
    return ctypes.CDLL(library)


def _handle(kernel: str, library: str, symbol: str) -> Any:
    """A new handle of the function, whose types are not set."""
    try:
        loaded = _loaded(library)
    except OSError as error:
        raise KernelError(
            f"kernel {kernel}: library {library} cannot be loaded: {error}; build it, or give its path"
        ) from error
    try:
        return loaded[symbol]
    except AttributeError as error:
        raise KernelError(
            f"kernel {kernel}: {library} has no symbol {symbol!r}; nm -D lists those it has, and a C++ function needs "
            'extern "C"'
        ) from error


def _check_expressed(arguments: tuple[Argument, ...], tensors: Mapping[str, Any], scalars: Mapping[str, Any]) -> None:
    """Raise NotImplementedError for an operand, an option or a layout that the signature says nothing of."""
    sources = tuple(argument.source for argument in arguments)
    numbers = {source.name for source in sources if isinstance(source, Scalar)}
    if unsaid := sorted((tensors.keys() - set(sources)) | (scalars.keys() - numbers)):
        raise NotImplementedError(f"the signature of the function has no argument for {', '.join(unsaid)}")
    for name, tensor in tensors.items():
        if why := untold(sources, name, laid(tensor)):
            raise NotImplementedError(why)


def _results(
    described: Kernel, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Any]
) -> dict[str, guards.Guarded]:
    """Guarded memory for the results that the harness has given none for."""
    inside = results.in_place(described)
    border, device = arrays.of(described.framework), described.devices[0]
    expected = _expected(described, shapes)
    return {
        one.name: guards.guard_result(border, one.shape, one.format, "contiguous", device)
        for one in expected
        if one.name not in inside and one.name not in tensors
    }


def _expected(described: Kernel, shapes: Mapping[str, tuple[int, ...]]) -> tuple[results.Result, ...]:
    return results.results(described, described.format_sets[0], shapes)


def _returned(described: Kernel, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Any]) -> Any:
    found = tuple(tensors[one.name] for one in _expected(described, shapes))
    return found if len(found) > 1 else found[0]


def _invoke(native: NativeFunction, placed: Mapping[str, Laid], scalars: Mapping[str, Any]) -> None:
    function = _handle(native.described.name, native.library, native.symbol)
    function.restype = native.returns
    function.argtypes = [argument.type for argument in native.arguments]
    message = ctypes.create_string_buffer(CAPACITY)
    given = [
        message if isinstance(argument.source, Message) else _held(argument, value(argument.source, placed, scalars))
        for argument in native.arguments
    ]
    held = [ctypes.addressof(item) if isinstance(item, ctypes.Array) else item for item in given]
    status = function(*held)
    if native.returns is not None and status != 0:
        _failed(native, int(status), message.value.decode(errors="replace"))


def _held(argument: Argument, given: Any) -> Any:
    """`given`, if the argument's type can hold it: ctypes would cut off what is too large."""
    whole = isinstance(given, int) and argument.type not in (ctypes.c_void_p, ctypes.c_float, ctypes.c_double)
    if isinstance(given, float) and argument.type not in (ctypes.c_float, ctypes.c_double):
        if given != int(given):
            raise NotImplementedError(f"{argument.source} is {given}, which {argument.type.__name__} cannot hold")
        return _held(argument, int(given))
    if whole and argument.type(given).value != given:
        raise NotImplementedError(f"{argument.source} is {given}, which {argument.type.__name__} cannot hold")
    return given


def _failed(native: NativeFunction, status: int, message: str) -> None:
    if status in native.unsupported:
        raise NotImplementedError(message or f"{native.symbol} returned status {status}: unsupported")
    hint = "" if message else "; one that returns nothing is declared with returns=None"
    raise NativeError(f"{native.symbol} returned status {status}{': ' * bool(message)}{message}{hint}")
