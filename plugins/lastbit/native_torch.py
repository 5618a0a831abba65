"""Operators that a library registers with PyTorch (TORCH_LIBRARY, torch.library), as a kernel's `run`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from lastbit.errors import KernelError


@dataclass(frozen=True, slots=True)
class TorchOperator:
    """A kernel's `run` that calls `torch.ops.<namespace>.<name>`; a worker that unpickles it loads the library anew."""

    library: str
    symbol: str
    kernel: str
    #: Names of the operands in the operator's order; empty: the op's order, options by keyword.
    order: tuple[str, ...]
    #: Names of the operands in the op's order.
    names: tuple[str, ...]

    def __call__(self, *positional: Any, **keywords: Any) -> Any:
        """What the operator returns for PyTorch tensors."""
        found = _operator(self.kernel, self.library, self.symbol)
        if not self.order:
            return found(*positional, **keywords)
        given = dict(zip(self.names, positional, strict=True)) | keywords
        ordered = [given.pop(name, None) for name in self.order]
        return found(*ordered, **given)


def operator(
    library: str, symbol: str, kernel: str, signature: Iterable[Any] | None, names: tuple[str, ...]
) -> TorchOperator:
    """The operator `symbol`, "namespace::name", which `library` registers, or which is registered where it is "".

    Raises KernelError when the library cannot be loaded or registers no such operator, and for a signature that is
    not names.
    """
    order = tuple(signature or ())
    if wrong := [name for name in order if not isinstance(name, str)]:
        raise KernelError(
            f"kernel {kernel}: the signature of an operator of PyTorch holds {wrong[0]!r}, expected names of operands"
        )
    if order and (missing := [name for name in names if name not in order]):
        raise KernelError(f"kernel {kernel}: the signature lacks {', '.join(missing)}; it orders {', '.join(names)}")
    _operator(kernel, library, symbol)
    return TorchOperator(library, symbol, kernel, order, names)


@cache
def _load(library: str) -> None:
    import torch

    torch.ops.load_library(library)


def _operator(kernel: str, library: str, symbol: str) -> Callable[..., Any]:
    try:
        import torch
    except ImportError as error:
        raise KernelError(f"kernel {kernel}: {symbol} is an operator of PyTorch: {error}; pip install torch") from error
    namespace, _, name = symbol.partition("::")
    try:
        if library:
            _load(library)
    except OSError as error:
        raise KernelError(
            f"kernel {kernel}: library {library} cannot be loaded: {error}; "
            f"build it against PyTorch {torch.__version__}"
        ) from error
    found = getattr(getattr(torch.ops, namespace), name, None)
    if found is None:
        raise KernelError(
            f"kernel {kernel}: PyTorch has no operator {symbol}; {library or 'what was imported'} must register it "
            f"with TORCH_LIBRARY({namespace}, ...) or torch.library"
        )
    operator: Callable[..., Any] = found
    return operator
