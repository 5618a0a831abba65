"""Single files of a library, loaded without the rest of it: no start-up code runs, and nothing stays imported."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class BareFiles(importlib.abc.MetaPathFinder):
    """Finds the modules of one library: those given, else its files; packages are empty but for their path."""

    def __init__(self, folder: Path, given: Mapping[str, ModuleType]) -> None:
        self.folder = folder
        self.given = given

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module of the library; None for another's."""
        if fullname.partition(".")[0] != self.folder.name:
            return None
        if fullname in self.given:
            return importlib.machinery.ModuleSpec(fullname, _Given(self.given[fullname]))
        place = self.folder.joinpath(*fullname.split(".")[1:])
        if place.is_dir():
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        file = place.with_suffix(".py")
        if not file.is_file():
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec_from_file_location(fullname, file)


class _Given(importlib.abc.Loader):
    """Loads a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


def load(folder: Path, name: str, given: Mapping[str, ModuleType]) -> ModuleType:
    """The module `name` out of `folder` of its library, with `given` in the place of modules that it imports.

    sys.modules and the import system are left as they were. Raises what importing the file raises.
    """
    with _alone(folder.name):
        finder = BareFiles(folder, given)
        sys.meta_path.insert(0, finder)
        try:
            return importlib.import_module(name)
        finally:
            sys.meta_path.remove(finder)


@contextmanager
def _alone(library: str) -> Iterator[None]:
    """No module of `library` is imported inside; afterwards those that were are back."""
    before = _taken(library)
    try:
        yield
    finally:
        _taken(library)
        sys.modules.update(before)


def _taken(library: str) -> dict[str, ModuleType]:
    """The imported modules of `library`, taken out of sys.modules."""
    names = [name for name in sys.modules if name.partition(".")[0] == library]
    return {name: sys.modules.pop(name) for name in names}


def module(name: str, **attributes: object) -> ModuleType:
    """A module of the given attributes."""
    made = ModuleType(name)
    made.__dict__.update(attributes)
    return made
