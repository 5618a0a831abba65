"""Which cases of a law a run is asked for: those of its tier, or single ones by their text, if they can be cases."""

import re
from collections.abc import Callable, Iterator, Mapping

from lastbit.case import TIERS, Case, Check
from lastbit.choices import Options
from lastbit.errors import UsageError
from lastbit.kernel import OPERANDS

Law = tuple[Check, ...]
Texts = Callable[[], set[str]]

#: Most numbers of one matrix of a case: 2 GiB of float64. The law's largest is an eighth of it.
LARGEST = 2**28
_PAIR = re.compile(r"-?\d+:-?\d+")


def chosen(law: Law, options: Options, every_check: Texts) -> Iterator[tuple[Check, Case]]:
    """The checks and cases of `law` that the options ask for; `every_check` names the checks of all laws.

    Raises UsageError for a text that names no check of any law, or a case that its check cannot have.
    """
    if options.case:
        for text in options.case:
            yield from _named(law, text, every_check)
        return
    tier = TIERS.index(options.tier)
    for check in law:
        yield from ((check, case) for case in check.cases if TIERS.index(case.tier) <= tier)


def parts(text: str) -> tuple[str, str, str]:
    """Check, case id and formats ("" for all) of a --lastbit-case; raises UsageError where it is none."""
    words = text.split()
    if len(words) not in (2, 3):
        raise UsageError(f"--lastbit-case is {text!r}, expected 'CHECK CASE FORMATS' as a failure's command names it")
    return words[0], words[1], words[2] if len(words) == 3 else ""


def has_sizes(law: Law, case: Case) -> bool:
    """Whether the case has the sizes that all cases of the law have, and none that no case has."""
    known = [{name for name, _ in one.sizes} for one in _cases(law)]
    return set.intersection(*known) <= {name for name, _ in case.sizes} <= set.union(*known)


def is_of(law: Law, text: str) -> bool:
    """Whether `text` names a check of the law and a case with its sizes."""
    name, case_id, _ = parts(text)
    return any(check.name == name for check in law) and has_sizes(law, Case.parse(case_id))


def _named(law: Law, text: str, every_check: Texts) -> Iterator[tuple[Check, Case]]:
    """The check and the case that `text` names, if it is one of this law and not of another op's."""
    name, case_id, _ = parts(text)
    for check in law:
        if check.name == name:
            known = next((case for case in check.cases if case.id == case_id), None)
            case = known or Case.parse(case_id)
            if has_sizes(law, case):
                if known is None:
                    _refuse(law, case)
                yield check, case
            return
    if name not in every_check():
        expected = ", ".join(check.name for check in law)
        raise UsageError(f"--lastbit-case names check {name!r}, expected one of {expected}")


def _cases(law: Law) -> list[Case]:
    return [case for check in law for case in check.cases]


def _refuse(law: Law, case: Case) -> None:
    """Raise UsageError if no kernel of the law's op can have the case: its layout, its sizes or its options."""
    from lastbit.layouts import LAYOUTS

    start = f"--lastbit-case names {case.id!r}: "
    found = _cases(law)
    operands = {*OPERANDS[law[0].op], *(name for one in found for name in _layouts(one))}
    for name, layout in _layouts(case).items():
        if name not in operands:
            raise UsageError(f"{start}operand {name!r} has no layout, expected one of {', '.join(sorted(operands))}")
        if layout not in LAYOUTS:
            raise UsageError(f"{start}layout of {name} is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    sizes = {name: size for name, size in case.sizes if isinstance(size, int)}
    empty = {name for one in found for name, size in one.sizes if size == 0}
    for name, size in sizes.items():
        if size == 0 and name not in empty:
            raise UsageError(f"{start}{name} is 0, expected at least 1")
    first, second, *_ = *sorted(sizes.values(), reverse=True), 1, 1
    if first * second * max(sizes.get("batch", 1), 1) > LARGEST:
        raise UsageError(f"{start}its sizes make a matrix of more than {LARGEST} numbers (2 GiB); give smaller ones")
    _refuse_options(start, found, dict(case.options))


def _refuse_options(start: str, found: list[Case], given: Mapping[str, float | str]) -> None:
    known: dict[str, set[float | str]] = {}
    for one in found:
        for name, value in one.options:
            known.setdefault(name, set()).add(value)
    lacking = {name for name in known if all(name in dict(one.options) for one in found)} - given.keys()
    if lacking:
        raise UsageError(f"{start}it lacks {', '.join(f'/{name}=...' for name in sorted(lacking))}, as all cases have")
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"{start}option {name!r} is unknown, expected {', '.join(sorted(known)) or 'none'}")
        words = {word for word in known[name] if isinstance(word, str)}
        if any(_PAIR.fullmatch(word) for word in words):
            if not _PAIR.fullmatch(str(value)):
                raise UsageError(f"{start}{name} is {value!r}, expected two whole numbers such as 4:0")
        elif words and str(value) not in words:
            raise UsageError(f"{start}{name} is {value!r}, expected one of {', '.join(sorted(words))}")
        elif not words and isinstance(value, str):
            raise UsageError(f"{start}{name} is {value!r}, expected a number")


def _layouts(case: Case) -> dict[str, str]:
    if case.layout == "contiguous":
        return {}
    return {name: layout for name, _, layout in (part.partition(":") for part in case.layout.split("+"))}
