"""A user's own comparison function as a rival: `lastbit zoo --judge mymodule:judge`."""

import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lastbit.errors import UsageError
from lastbit.suites.zoo.rival import Rival
from lastbit.suites.zoo.rival_data import Array, Question, normal
from lastbit.suites.zoo.rivals import EVERY, every


@cache
def load(text: str) -> Rival:
    """The function that "module:function" names, as a rival; modules of the working directory are found, too.

    It is called as judge(obtained, expected) with NumPy arrays of one shape: float32 for every floating-point format
    (which holds f16, bf16 and smaller exactly), float64 for f64, int64 for integers; what quantized codes are worth is
    float32, too. `expected` is the answer in f64
    rounded once to the output format. It accepts by returning True or None, and rejects by returning False or raising
    AssertionError. Kernels that raise, or return another shape or type, are rejected without asking.

    Raises UsageError where there is no such function, and, when it runs, where it raises or returns something else.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise UsageError(f"--judge is {text!r}, expected MODULE:FUNCTION, as in mymodule:judge")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"--judge {text}: {module} cannot be imported: {_told(error)}") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"--judge {text}: {module} has no function {name}")
    return Rival(text, rule(text, found), {op: (draw,) for op, draw in every(normal).items()}, EVERY, "yours")


def rule(text: str, judge: Callable[[Any, Any], Any]) -> Callable[[Array, Question], bool]:
    """`judge` as a rule of a rival."""

    def accepts(obtained: Array, question: Question) -> bool:
        whole = question.format[0] in "iu" and question.worth is None
        dtype = np.int64 if whole else np.float64 if question.format == "f64" else np.float32
        try:
            with np.errstate(all="ignore"):
                said = judge(obtained.astype(dtype), question.expected.astype(dtype))
        except AssertionError:
            return False
        except Exception as error:
            shapes = f"two arrays of {np.dtype(dtype)} {obtained.shape}"
            raise UsageError(f"--judge {text} raised {_told(error)}; it is given {shapes}") from error
        if said is None or isinstance(said, bool | np.bool_):
            return said is None or bool(said)
        raise UsageError(f"--judge {text} returned {said!r}, expected True, False or None, or an AssertionError")

    return accepts


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
