"""Trees, states of a repository side by side in one process: each has its own modules, of the same names."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lastbit.discovery import from_source
from lastbit.errors import KernelError, UsageError
from lastbit.kernel import REGISTRY, Kernel

#: Folders of a tree that its packages may lie in.
ROOTS = (".", "src")


#: Names that stay those of this process, whatever files a tree has: what lastbit computes with, and lastbit itself.
_COMPUTED_WITH = ("numpy", "torch", "triton", "jax", "ml_dtypes", "mpmath", "gmpy2", "msgspec", "tabulate")
KEPT = frozenset({"lastbit", "pytest", "hypothesis", *_COMPUTED_WITH, *sys.stdlib_module_names})


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The kernels of one folder, and the modules that they were imported with."""

    root: Path
    kernels: tuple[Kernel, ...]
    #: Modules of the tree by name, those too that a kernel imports when it is called; another tree has others.
    modules: dict[str, ModuleType]
    #: Names of the tree's top-level packages and modules.
    names: frozenset[str]
    #: What sys.path begins with for it.
    paths: tuple[str, ...]

    def enter(self) -> None:
        """Let `import` give this tree's modules, as a kernel that imports when it is called needs it; see `leave`."""
        if _entered and _entered[-1] is self:
            return
        leave()
        _outside.update(_taken(self.names))
        sys.modules.update(self.modules)
        sys.path[:0] = self.paths
        _entered.append(self)


#: The tree that `import` looks into now, if there is one, and the modules that it stands in for.
_entered: list[Tree] = []
_outside: dict[str, ModuleType] = {}


def leave() -> None:
    """Let `import` give what it gave before a tree was entered."""
    if not _entered:
        return
    tree = _entered.pop()
    tree.modules.update(_taken(tree.names))
    sys.modules.update(_outside)
    _outside.clear()
    for path in tree.paths:
        sys.path.remove(path)


def load(root: Path, sources: Sequence[str]) -> Tree:
    """The kernels of `sources` (files of the tree, or modules) as the tree at `root` has them.

    Modules of the same names that were imported before are put aside meanwhile, and back afterwards.

    Raises UsageError when a source is not in the tree, cannot be imported, or gives kernels of another place.
    """
    leave()
    root = root.resolve()
    names = frozenset(_names(root)) - KEPT
    paths = tuple(str((root / name).resolve()) for name in ROOTS if (root / name).is_dir())
    aside = _taken(names)
    registry, path = dict(REGISTRY), list(sys.path)
    REGISTRY.clear()
    sys.path[:0] = paths
    try:
        kernels = tuple(kernel for source in sources for kernel in _kernels(root, source))
    finally:
        modules = _taken(names)
        sys.modules.update(aside)
        sys.path[:] = path
        REGISTRY.clear()
        REGISTRY.update(registry)
    return Tree(root, kernels, modules, names, paths)


@contextlib.contextmanager
def checked_out(ref: str, repository: Path) -> Iterator[Path]:
    """A temporary folder with the files of the commit `ref`, the repository left as it is.

    Only what is committed is there: nothing that was built, and no submodules.

    Raises UsageError where git does not know the commit.
    """
    commit = _git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="lastbit-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(top(repository), "read-tree", commit, variables=index)
        _git(top(repository), "checkout-index", "--all", f"--prefix={tree}/", variables=index)
        yield tree


def top(folder: Path) -> Path:
    """The repository's own folder; raises UsageError outside of one."""
    return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()


def is_commit(text: str, repository: Path) -> bool:
    """Whether git knows `text` as a commit of the repository around this folder."""
    try:
        return bool(_git(repository, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}"))
    except UsageError:
        return False


def _kernels(root: Path, source: str) -> tuple[Kernel, ...]:
    path = root / source
    try:
        kernels = from_source(str(path) if path.is_file() or source.endswith(".py") else source)
    except UsageError as error:
        raise UsageError(f"{error} (in {root}){_unbuilt(str(error))}") from error
    except KernelError as error:
        raise UsageError(f"{source} in {root}: {error}") from error
    for kernel in kernels:
        file = getattr(getattr(kernel.run, "__code__", None), "co_filename", "")
        module = str(getattr(kernel.run, "__module__", "")).partition(".")[0]
        if file and module in _names(root) and not Path(file).resolve().is_relative_to(root):
            raise UsageError(
                f"kernel {kernel.name} comes from {file}, not from {root}: an installed package hides the tree's; "
                "uninstall it, or compare two environments"
            )
    return kernels


def _unbuilt(text: str) -> str:
    """What to do about a part that is not there because nobody compiled it, or that two trees cannot both load."""
    if "ImportError" in text or "ModuleNotFoundError" in text:
        return (
            "; a commit has nothing that is compiled: build each state in a folder of its own and compare these: "
            "lastbit compare --perf ./base ./head --kernels ..."
        )
    if "register" in text.lower():
        return (
            "; a compiled operator can be registered once in a process, so two builds of it cannot be compared side by "
            "side: register each under a namespace of its own"
        )
    return ""


def _taken(names: frozenset[str]) -> dict[str, ModuleType]:
    """Take the modules of these top-level names out of sys.modules."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}


def _names(root: Path) -> Iterator[str]:
    """Top-level names that can be imported from the tree."""
    for folder in (root / name for name in ROOTS):
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.suffix == ".py" and path.stem.isidentifier():
                yield path.stem
            elif path.name.isidentifier() and path.name != "src" and any(path.glob("**/*.py")):
                yield path.name


def _git(folder: Path, *words: str, variables: Mapping[str, str] | None = None) -> str:
    try:
        run = subprocess.run(
            ["git", *words],
            cwd=folder,
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed, so commits cannot be compared") from error
    except subprocess.CalledProcessError as error:
        raise UsageError(
            f"git {' '.join(words)} failed in {folder}: {error.stderr.strip() or 'nothing found'}"
        ) from error
    return run.stdout.strip()
