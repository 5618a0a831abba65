"""Let a bare checkout run as if installed; refuse to mix it with another copy."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
spec = importlib.util.find_spec("lastbit")
if spec is None:
    sys.path.insert(0, str(ROOT / "plugins"))
    import lastbit

    lastbit.__path__.append(str(ROOT))
    pytest_plugins = ["lastbit.plugin"]
elif spec.origin is None or not Path(spec.origin).resolve().is_relative_to(ROOT):
    raise pytest.UsageError(
        f"lastbit is imported from {spec.origin}, but these suites are in {ROOT}.\n"
        "Install this checkout (pip install -e .) or run the installed suites (pytest --pyargs lastbit.suites)."
    )
