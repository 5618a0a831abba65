"""Case, Check and Trial: what is run, which law it is run for, and one kernel's turn at it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import UsageError
from lastbit.kernel import Kernel
from lastbit.verdict import Verdict

TIERS = ("smoke", "standard", "full")


_NAMES = "batch|m|n|k|b|hq|hkv|lq|lk|d|dv|block|len|tokens|pages"
_WORDS = "tile|overtile|undertile|halftile|even|wide|spanning|long|fair|all"
_SIZE = re.compile(rf"({_NAMES})(\d+|{_WORDS})")


@dataclass(frozen=True, slots=True)
class Case:
    """One point of the law: a data recipe, sizes, a memory layout and options; the same for every kernel.

    Sizes are numbers, or words that `suites` resolves against the kernel: "tile", "overtile" (one more), "undertile"
    (one less), "halftile" (half a group more), "even" and "wide" (128 and 1024 or more, that tiles divide), "long"
    and "fair" (as long a sum, up to thousands and up to 129, as the contract's bound can still tell from a wrong
    answer), "spanning" (two tiles and one more), "all" (as many numbers as the recipe has).
    """

    recipe: str
    #: Sizes by dimension name, in order: (("m", 17), ("n", 33), ("k", 65)); "batch" may come first.
    sizes: tuple[tuple[str, int | str], ...]
    #: "contiguous", or operand:layout joined by "+", such as "a:transposed+b:strided".
    layout: str = "contiguous"
    #: Options of the op, such as ("alpha", 0.5).
    options: tuple[tuple[str, float | str], ...] = ()
    tier: str = "smoke"

    @property
    def id(self) -> str:
        """A stable slug: recipe, sizes, layout and options; never an index."""
        parts = [self.recipe, "-".join(f"{name}{size}" for name, size in self.sizes)]
        if self.layout != "contiguous":
            parts.append(self.layout)
        parts += [f"{name}={value if isinstance(value, str) else format(value, 'g')}" for name, value in self.options]
        return "/".join(parts)

    @classmethod
    def parse(cls, text: str) -> "Case":
        """The case whose id is `text`; a case need not be one of the law's to be run.

        Raises UsageError when `text` is not an id.
        """
        recipe, _, rest = text.partition("/")
        sizes, *further = rest.split("/")
        dims = [_SIZE.fullmatch(part) for part in sizes.split("-")]
        if not recipe or not all(dims):
            raise UsageError(f"case id {text!r}: expected recipe/m17-n33-k65[/layout][/option=value], sizes by name")
        options = tuple(
            (name, _option(value)) for name, sign, value in (part.partition("=") for part in further) if sign
        )
        layouts = [part for part in further if "=" not in part]
        pairs = tuple((dim[1], int(dim[2]) if dim[2].isdigit() else dim[2]) for dim in dims if dim)
        return cls(recipe, pairs, layouts[0] if layouts else "contiguous", options)


def _option(text: str) -> int | float | str:
    """The value whose str is `text`: a whole number, a number, or a word."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the law of an op: a name, the cases it is walked over, and the function that judges a trial."""

    name: str
    op: str
    cases: tuple[Case, ...]
    judge: Callable[["Trial"], Verdict]
    #: "" if the check says something about this kernel, formats and contract; else why it does not.
    applies: Callable[["Trial"], str]
    #: What a failure of this check means, in a sentence, for the report.
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One kernel's turn at one case of one check."""

    kernel: Kernel
    formats: Mapping[str, str]
    #: The kernel's contract, resolved for these formats.
    contract: Contract
    device: str
    case: Case
    seed: int = 0
    tier: str = "smoke"
    #: Overrides of suites/budgets.toml that apply, and anything else a check may look up by name.
    settings: Mapping[str, Any] = field(default_factory=dict)
