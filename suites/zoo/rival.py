"""A rival: a rule that kernels are tested by elsewhere, and what it says of a kernel on its customary data."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lastbit import arrays, results
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.scaled_operands import operand_names
from lastbit.suites.zoo.rival_data import (
    Array,
    Codes,
    Draw,
    Question,
)
from lastbit.suites.zoo.specimen import room

#: Whether a result is accepted.
Rule = Callable[[Array, Question], bool]
#: Seconds that work which goes on after a call is waited for, as a device is.
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Rival:
    """A rule, the data that it is customarily used on, and where both are published."""

    name: str
    rule: Rule
    #: Data sets of each room (specimen.room) that the rule covers; a kernel has to be accepted on all of them.
    draws: Mapping[str, tuple[Draw, ...]]
    #: The data in words.
    data: str
    source: str
    #: Output formats that it has a limit for; empty: any.
    formats: frozenset[str] = frozenset()
    #: Calls with new data of each set.
    trials: int = 1


def accepts(rival: Rival, kernel: Kernel, seed: int) -> bool | None:
    """Whether the rival accepts the kernel under this seed; None where its rule does not cover the room or format."""
    draws = rival.draws.get(room(kernel), ())
    if not draws or (rival.formats and kernel.format_sets[0]["out"] not in rival.formats):
        return None
    rng = np.random.default_rng((seed, *rival.name.encode()))
    for draw in draws:
        for _ in range(rival.trials):
            question = draw(rng, kernel)
            if question is None:
                return None
            if not _accepted(rival, kernel, question):
                return False
    return True


def _accepted(rival: Rival, kernel: Kernel, question: Question) -> bool:
    obtained = answer(kernel, question)
    if obtained is None:
        return False
    asked = (question, *question.others)
    return all(rival.rule(one, about) for one, about in zip(obtained, asked, strict=True))


def answer(kernel: Kernel, question: Question) -> tuple[Array, ...] | None:
    """The values that the kernel returns for the question and its others, in f64.

    None where it raises, or returns no arrays of the shapes and types. The call is as bare as that of the tests that
    the rivals are from: no guards, no poison, the same process.
    """
    given: dict[str, Any] = {
        name: arrays.tensor(one.codes.copy(), one.format, "numpy") for name, one in question.operands.items()
    }
    shapes = {name: one.codes.shape for name, one in question.operands.items()}
    wanted = results.results(kernel, kernel.format_sets[0], shapes)
    lent = [given[name] for name in results.in_place(kernel)]
    if "out" in kernel.features:
        empty = np.zeros(wanted[0].shape, arrays.code_dtype(wanted[0].format))
        given["out"] = arrays.tensor(empty, wanted[0].format, "numpy")
    keywords = {**given, **question.options}
    positional = [keywords.pop(name, None) for name in operand_names(kernel)]
    before = set(threading.enumerate())
    try:
        with np.errstate(all="ignore"):
            returned = kernel.run(*positional, **keywords)
    except Exception:
        return None
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    several = returned if len(wanted) > 1 else (returned,)
    if returned is None and lent:
        several = tuple(lent)
    if not isinstance(several, tuple) or len(several) != len(wanted):
        return None
    codes = [_codes(result, one) for result, one in zip(several, wanted, strict=True)]
    return _values(codes, wanted, question)


def _codes(result: Any, wanted: results.Result) -> Codes | None:
    """The codes of an array of the shape and type wanted."""
    border = arrays.of("numpy")
    if isinstance(result, np.ndarray) and type(result) is not np.ndarray:
        result = result.__array__()  # comparing makes a lazy array compute
    return None if border.misfit(result, wanted.shape, wanted.format, "cpu") else border.codes(result, wanted.format)


def _values(
    codes: list[Codes | None], wanted: tuple[results.Result, ...], question: Question
) -> tuple[Array, ...] | None:
    """What the codes are worth, of the results that are asked about."""
    if question.worth is not None:
        whole = [one for one in codes if one is not None]
        worth = question.worth(whole) if len(whole) == len(codes) else None
        return None if worth is None else (worth,)
    found = {}
    for one, held in zip(wanted, codes, strict=True):
        if held is not None:
            found[one.name] = Format.of(one.format).decode(held)
    asked = [found.get(about.name) for about in (question, *question.others)]
    return None if any(one is None for one in asked) else tuple(one for one in asked if one is not None)
