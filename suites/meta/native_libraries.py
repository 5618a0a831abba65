"""Shared libraries that the tests of native kernels build, each once, where there is a compiler."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "native"
#: Fused products and sums would be another accumulator than the one promised.
FLAGS = ("-std=c++17", "-O1", "-Wall", "-shared", "-fPIC", "-ffp-contract=off")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


@cache
def built(*sources: Path) -> Path:
    """The library of C++ sources, in a folder of its own that goes with this process."""
    library = Path(_folder()) / f"lib{sources[0].stem}-{len(sources)}.so"
    subprocess.run(["g++", *FLAGS, "-o", library, *sources], check=True, timeout=60)
    return library


@cache
def _folder() -> str:
    import atexit

    folder = mkdtemp(prefix="lastbit-native-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
