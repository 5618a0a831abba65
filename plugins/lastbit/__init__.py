"""lastbit decides whether a numerical kernel keeps its promise to the last bit; the public names live here.

Importing this package loads neither numpy nor any framework: names are resolved on first use.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lastbit.conformance import assert_conforms as assert_conforms
    from lastbit.contract import Contract as Contract
    from lastbit.errors import LastbitError as LastbitError
    from lastbit.kernel import Kernel as Kernel
    from lastbit.kernel import kernel as kernel
    from lastbit.native import native as native
    from lastbit.verdict import Finding as Finding
    from lastbit.verdict import Outcome as Outcome
    from lastbit.verdict import Record as Record
    from lastbit.verify import verify as verify

__version__ = "0.1.0"

_HOME = {
    "Contract": "lastbit.contract",
    "Finding": "lastbit.verdict",
    "Kernel": "lastbit.kernel",
    "LastbitError": "lastbit.errors",
    "Outcome": "lastbit.verdict",
    "Record": "lastbit.verdict",
    "assert_conforms": "lastbit.conformance",
    "kernel": "lastbit.kernel",
    "native": "lastbit.native",
    "verify": "lastbit.verify",
}

__all__ = [
    "Contract",
    "Finding",
    "Kernel",
    "LastbitError",
    "Outcome",
    "Record",
    "assert_conforms",
    "kernel",
    "native",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lastbit' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """`lastbit.kernel` and `lastbit.verify` are submodules too: whoever imports one must not hide the public name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
