"""`lastbit zoo`: score this suite, and others' ways of comparing, on the zoo."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.case import TIERS
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.suites.zoo.outcome import Judged
    from lastbit.suites.zoo.specimen import Faulty, Variant

#: Seeds where --seeds says nothing: of faults, and of correct variants.
SEEDS = {"smoke": 1, "standard": 10, "full": 10}
RIGHT_SEEDS = {"smoke": 2, "standard": 20, "full": 20}


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    zoo = commands.add_parser("zoo", help="what this suite, and others' rules, catch of known faults")
    zoo.add_argument("names", metavar="GLOB", nargs="*", help="only kernels of these names or fault classes (F042)")
    zoo.add_argument("--tier", choices=TIERS, default="smoke", help="how much of the law is walked (smoke)")
    zoo.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1 (10 and 20 at tier standard, 1 and 2 at smoke)")
    zoo.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count() or 1, help="worker processes")
    zoo.add_argument("--judge", metavar="MODULE:FUNCTION", action="append", default=[], help="score a comparison of yours, too")
    zoo.add_argument("--no-rivals", action="store_true", help="this suite alone")
    zoo.add_argument("--explain", metavar="CLASS", help="the story of one fault class: F042")
    zoo.add_argument("--json", metavar="FILE", help="write the score to FILE")
    zoo.add_argument("--markdown", metavar="FILE", help="write the score to FILE in Markdown")
    zoo.set_defaults(command=run)
