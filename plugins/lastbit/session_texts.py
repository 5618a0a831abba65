"""How a pytest session is told in words: a test's id, the command that repeats it, a path."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lastbit.case import Check, Trial


def item_id(check: "Check", trial: "Trial") -> str:
    """The test's id: check, kernel, formats, case, and the device unless it is the CPU."""
    names = list(dict.fromkeys(trial.formats.values()))
    formats = "_".join(names if len(names) == 1 else trial.formats.values())
    parts = [check.name, trial.kernel.name, formats, trial.case.id]
    text = "-".join(parts if trial.device == "cpu" else [*parts, trial.device])
    return "".join(c if c.isalnum() or c in "-_./+" else "_" for c in text)


def command(config: pytest.Config) -> str:
    """How this session was started, as far as another one needs it to find the same kernels."""
    words = ["pytest"]
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        words += [*(["--pyargs"] if config.option.pyargs else []), *(arg.partition("::")[0] for arg in config.args)]
    for source in config.getoption("lastbit_kernels") or ():
        # With "=", for pytest takes a lone path for a test and looks for its root directory there.
        words.append(shlex.quote(f"--lastbit-kernels={source}"))
    return " ".join(words)


def near(path: Path) -> str:
    """The path, from the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
