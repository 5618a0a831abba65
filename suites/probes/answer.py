"""Answer, what one probe found out about a kernel: a value with its evidence, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe says of one property."""

    #: "P1" to "P26" of docs/datasheet.md.
    probe: str
    property: str
    #: None where the probe could not decide.
    value: Value | None
    #: What was asked and what came back.
    evidence: str
    #: Why there is no value; "" where there is one.
    indeterminate_reason: str = ""


#: Answers by property, in the order in which they were given: what a later probe may rely on.
Known = Mapping[str, Answer]


def undecided(probe: str, name: str, reason: str, evidence: str = "") -> Answer:
    """An answer that says why there is none."""
    return Answer(probe, name, None, evidence, reason)


def value_of(known: Known, name: str) -> Value | None:
    """The value of a property as far as it is known."""
    answer = known.get(name)
    return None if answer is None else answer.value


def whole(known: Known, name: str) -> int | None:
    """The value of a property that is a number of bits or terms, as far as it is known."""
    value = value_of(known, name)
    return int(value) if isinstance(value, int) else None
