"""torchao's casts between f32 and the 4- and 6-bit formats of OCP MX, whose codes are bytes."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.providers.triton import ready

SOURCE = "torchao/prototype/mx_formats/kernels.py"
#: Numbers out of range are clamped; NaN is not supported, so nothing is promised of it.
NARROWED = Contract(source=f"{SOURCE}: _f32_to_floatx_unpacked rounds to even and clamps")
WIDENED = Contract(source=f"{SOURCE}: the value of a code")
#: Formats by the name that torchao's functions have for them.
NAMES = {"e2m1fn": "f4", "e2m3fn": "f6_e2m3", "e3m2fn": "f6_e3m2"}


def kernels() -> tuple[Kernel, ...]:
    """The unpacked casts of the installed torchao.

    Raises ImportError when it is not installed.
    """
    with suppress(ImportError, LastbitError):
        # torchao imports Triton, which has to be told before that whether to interpret.
        ready()
    from torchao.prototype.mx_formats import kernels as library

    found = []
    for fmt, name in NAMES.items():
        narrow, widen = f"f32_to_{name}_unpacked", f"{name}_unpacked_to_f32"
        found.append(_kernel(narrow, getattr(library, narrow), "f32", fmt, NARROWED))
        found.append(_kernel(widen, getattr(library, widen), fmt, "f32", WIDENED))
    return tuple(found)


def _kernel(name: str, function: Callable[..., Any], source: str, out: str, contract: Contract) -> Kernel:
    return Kernel(name=f"torchao/{name}", op="cast", run=function, formats={"x": source, "out": out}, contract=contract)
