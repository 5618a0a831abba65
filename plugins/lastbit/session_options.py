"""The options of a pytest session: its command line's, else its ini file's, folders from where each was written."""

from typing import Any

import pytest

from lastbit.choices import Options, options
from lastbit.options import OPTIONS


def read(config: pytest.Config) -> Options:
    """The options of this session; raises UsageError when one's value cannot be used."""
    given: dict[str, Any] = {}
    for option in OPTIONS:
        value = config.getoption(f"lastbit_{option.name}")
        base = config.invocation_params.dir
        if value is None:
            value, base = config.getini(f"lastbit_{option.name}"), config.rootpath
        if option.name in ("golden", "report") and value:
            value = str(base / value)
        if option.name == "kernels" and value:
            value = [str(base / source) if "/" in source or source.endswith(".py") else source for source in value]
        if option.name == "perf_against" and value and (base / value).is_file():
            value = str(base / value)  # a folder's name may be a commit's, too
        given[option.name] = value
    return options(given, config.rootpath)


def is_partial(session: pytest.Session, options: Options) -> bool:
    """Whether cases were left out, so that a finding that none shows may still happen."""
    chosen = session.config.option.keyword or any("::" in arg for arg in session.config.args)
    return bool(options.partial or chosen or session.shouldstop or session.shouldfail)
