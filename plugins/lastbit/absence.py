"""Why a library's kernels are not offered here, out of the error that its provider met."""

import importlib.metadata
import importlib.util
from types import ModuleType

from lastbit.errors import LastbitError


def why_absent(error: Exception) -> str | None:
    """The state and the reason in a line, or None where the error is no library's: a mistake of the provider.

    A module that is not there is "not installed"; a part of an installed library that is not, "changed upstream" with
    the version found; one that is there and cannot be loaded, "unsupported here".
    """
    if isinstance(error, LastbitError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _changed(error.name, error) if _has_package_of(error.name) else f"not installed ({error})"
    if isinstance(error, ImportError):
        moved = str(error).startswith("cannot import name")
        return _changed(error.name, error) if moved else f"unsupported here ({_line(error)})"
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return _changed(error.obj.__name__, error)
    return None


def _has_package_of(name: str | None) -> bool:
    """Whether the package that a part ("torchao.prototype.mx") should be in is installed."""
    package, _, part = (name or "").partition(".")
    return bool(part) and importlib.util.find_spec(package) is not None


def _changed(name: str | None, error: Exception) -> str | None:
    package = (name or "").partition(".")[0]
    if package == "lastbit":
        return None
    try:
        version = importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        version = "of unknown version"
    return f"changed upstream ({package} {version}: {_line(error)})"


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
