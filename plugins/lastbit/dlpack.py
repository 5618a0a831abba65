"""Kernels of any array library that speaks DLPack: operands and results are converted at the border, without a copy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lastbit.errors import KernelError
from lastbit.native_arguments import is_array

FRAMEWORKS = ("numpy", "torch")


@dataclass(frozen=True, slots=True)
class DLPackFunction:
    """A kernel's `run` for a function of another array library; it can be pickled if its parts can."""

    function: Callable[..., Any]
    take: Callable[[Any], Any]
    framework: str

    def __call__(self, *operands: Any, **keywords: Any) -> Any:
        """What the function returns, as arrays of the framework; what has no `__dlpack__` is returned as it is.

        Raises NotImplementedError for a format that the framework cannot export: NumPy has no bf16 in DLPack.
        """
        given = [self._taken(operand) for operand in operands]
        result = self.function(*given, **{name: self._taken(item) for name, item in keywords.items()})
        if isinstance(result, tuple):
            return tuple(self._back(one) for one in result)
        return self._back(result)

    def _taken(self, item: Any) -> Any:
        if not is_array(item):
            return item
        try:
            item.__dlpack__()
        except BufferError as error:
            raise NotImplementedError(f"{self.framework} has no DLPack of {item.dtype}: {error}") from error
        return self.take(item)

    def _back(self, result: Any) -> Any:
        if not hasattr(result, "__dlpack__"):
            return result
        if self.framework == "numpy":
            import numpy as np

            return np.from_dlpack(result)
        import torch

        return torch.from_dlpack(result)


def through_dlpack(
    function: Callable[..., Any], take: Callable[[Any], Any], *, framework: str = "numpy"
) -> DLPackFunction:
    """`function` of another array library as a kernel's `run` that takes and returns arrays of `framework`.

    `take` is that library's `from_dlpack`. The framework is what the Kernel says: "numpy" for f64, f32, f16 and
    integers on the CPU, "torch" for bf16 and GPUs too.

    Raises KernelError for another framework, or for what cannot be called.
    """
    if framework not in FRAMEWORKS:
        raise KernelError(f"framework is {framework!r}, expected one of {', '.join(FRAMEWORKS)}: lastbit's own borders")
    for name, given in (("function", function), ("take", take)):
        if not callable(given):
            raise KernelError(f"{name} is {given!r}, expected a function; take is the library's from_dlpack")
    return DLPackFunction(function, take, framework)
