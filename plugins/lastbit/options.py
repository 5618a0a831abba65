"""Every option of a run as data: read by pytest's command line, its ini files, and the lastbit command alike."""

import argparse
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option: `--lastbit-<name>` for pytest, `lastbit_<name>` in ini files, `--<name>` for the lastbit command."""

    name: str
    help: str
    #: Type in an ini file: "string", "args" (a list), "bool".
    kind: str = "string"
    metavar: str = ""

    @property
    def flag(self) -> str:
        """The name as a command line has it."""
        return self.name.replace("_", "-")


OPTIONS = (
    Option("kernels", "kernels of this module or file (its KERNELS, and what it registers)", "args", "MODULE_OR_FILE"),
    Option("only", "kernels whose name matches, for example 'torch/*'", "args", "GLOB"),
    Option("op", "ops, for example gemm (default: every op)", "args", "OP"),
    Option("device", "devices: cpu, cuda, cuda:1 (default: every device found)", "args", "DEVICE"),
    Option(
        "tier",
        "smoke, standard or full (default: smoke; lastbit verify: standard)",
        metavar="TIER",
    ),
    Option("seed", "seed of all data (default: 0)", metavar="N"),
    Option("golden", "folder of golden baselines (default: golden/ in the root directory)", metavar="DIR"),
    Option(
        "report",
        "folder of records and report (default: lastbit-report/ in the root directory; lastbit verify: none)",
        metavar="DIR",
    ),
    Option("strict", "a missing or drifted golden baseline and a vacuous check fail", "bool"),
    Option("shard", "run the I-th of N parts, for example 1/4", metavar="I/N"),
    Option("case", "exactly one case, as a failure's command names it: 'CHECK CASE FORMATS'", "args", "CASE"),
    Option(
        "perf",
        "time what is right, after all is judged: against its golden speed, and the limits of the device",
        "bool",
    ),
    Option(
        "perf_against",
        "time what is right, after all is judged, beside another state of it: a module, a file, a ./folder, a git "
        "commit, or a kernel's name",
        metavar="MODULE_OR_GIT_REF",
    ),
    Option("isolate", "run each kernel in a process of its own: one that dies or hangs costs its own verdict", "bool"),
)


def add_arguments(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the named options to `parser`, without the prefix."""
    for option in OPTIONS:
        if option.name in names:
            parser.add_argument(f"--{option.flag}", **_argument(option))


def plugin_arguments() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Name and keywords of each option for pytest's `addoption`."""
    return tuple((f"--lastbit-{option.flag}", _argument(option)) for option in OPTIONS)


def _argument(option: Option) -> dict[str, Any]:
    # `None`, not False or [], tells an option that was not given from an ini file's value.
    if option.kind == "bool":
        return {"action": "store_true", "default": None, "help": option.help}
    action = "append" if option.kind == "args" else "store"
    return {"action": action, "default": None, "metavar": option.metavar, "help": option.help}
