"""Side, one of two kernels that are compared, and who is compared where files, modules or commits are named."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from lastbit.discovery import find, from_source
from lastbit.errors import UsageError
from lastbit.isolate import ways
from lastbit.kernel import Kernel
from lastbit.perf import trees
from lastbit.worker import Way, load

#: What a way is called that leads into a tree: its folder, its source, and the kernel's name.
TREE = "tree"


@dataclass(frozen=True, slots=True)
class Side:
    """A kernel, whence it comes, and how another process gets hold of it."""

    kernel: Kernel
    #: "main", "kernels.py", "torch/softmax".
    label: str
    #: How a fresh process finds the kernel, surest first; empty if none can.
    ways: tuple[Way, ...] = ()
    #: Lets `import` give the kernel's own modules; called before it runs.
    enter: Callable[[], None] = trees.leave
    #: It is timed in a process of its own (perf.apart).
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """The pairs to compare, and the kernels that only one of the two has."""

    pairs: tuple[tuple[Side, Side], ...]
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def side(kernel: Kernel, label: str = "") -> Side:
    """A kernel of this process as a side."""
    return Side(kernel, label or kernel.name, tuple(ways(kernel)))


def reached(given: Sequence[Way], label: str) -> Side:
    """The side that the first usable way leads to, in this process.

    Raises UsageError where none is usable.
    """
    for way, what in given:
        if way == TREE:
            root, source, name = what
            tree = trees.load(Path(root), [source])
            kernel = next((one for one in tree.kernels if one.name == name), None)
            if kernel is None:
                raise UsageError(f"{source} in {root} has no kernel called {name}")
            return Side(kernel, label, tuple(given), tree.enter)
    kernel, why = load(list(given))
    if kernel is None:
        raise UsageError(f"{label} cannot be found again: {why}")
    return Side(kernel, label, tuple(given))


@contextlib.contextmanager
def named(
    text: str, sources: Sequence[str] = (), folder: Path | None = None, *, apart: bool = False
) -> Iterator[tuple[Side, ...]]:
    """The sides that `text` names: a file, a folder or commit (with `sources`), a module, or a kernel by its name.

    A folder is told from a commit by a separator: ./base. What a commit needs is removed at the end. Sides are `apart`
    where that is asked for, and where a folder or commit has compiled libraries, or a file lies beside one.

    Raises UsageError where it is none of these.
    """
    from lastbit.perf.apart import is_native

    here = folder or Path.cwd()
    path = here / text
    what = kind(text, sources, here)
    if what == "file":
        folder = path.resolve().parent
        yield _of_tree(folder, [path.name], text, apart or is_native(folder, 0))
    elif what == "folder":
        yield _of_tree(path, sources, text, apart or is_native(path))
    elif what == "commit":
        with trees.checked_out(text, here) as tree:
            yield _of_tree(tree / _place(here), sources, text, apart or is_native(tree))
    elif what == "module":
        sides = [side(kernel, f"{text}:{kernel.name}") for kernel in from_source(text)]
        yield tuple(replace(one, apart=apart) for one in sides)
    else:
        yield tuple(replace(side(kernel), apart=apart) for kernel in find((), (text,)).kernels)


def kind(text: str, sources: Sequence[str], here: Path) -> str:
    """What `text` names: "file", "folder", "commit", "module" or "name"; nothing is imported for that.

    Raises UsageError where it is none of these, or lacks `sources`.
    """
    path = here / text
    if path.is_file():
        return "file"
    if path.is_dir() and ("/" in text or text.startswith(".")):
        if not sources:
            raise UsageError(
                f"{text} is a folder: name the file or module of its kernels with --kernels FILE_OR_MODULE"
            )
        return "folder"
    if sources and trees.is_commit(text, here):
        return "commit"
    if text.replace(".", "").isidentifier() and find_spec(text.partition(".")[0]):
        return "module"
    if trees.is_commit(text, here):
        raise UsageError(f"{text} is a commit: name its kernels' file or module with --kernels FILE_OR_MODULE")
    if "/" not in text:
        raise UsageError(f"{text} is none of a file, a ./folder, a module, a commit, or provider/kernel")
    return "name"


def match(base: Sequence[Side], head: Sequence[Side], glob: str = "") -> Match:
    """Who is compared with whom: those of the same name, or the only ones of both sides.

    Raises UsageError where there is no pair.
    """
    old, new = (
        {one.kernel.name: one for one in sides if not glob or fnmatchcase(one.kernel.name, glob)}
        for sides in (base, head)
    )
    shared = [name for name in old if name in new]
    if not shared and len(old) == len(new) == 1:
        return Match(((*old.values(), *new.values()),))  # type: ignore[arg-type]
    if not shared:
        raise UsageError(
            f"no kernel to compare: base has {', '.join(old) or 'none'}, head has {', '.join(new) or 'none'}"
            f"{f' of {glob}' if glob else ''}; kernels of one name are compared, or one with one (--kernel GLOB)"
        )
    pairs = tuple((old[name], new[name]) for name in shared)
    return Match(pairs, tuple(sorted(old.keys() - new.keys())), tuple(sorted(new.keys() - old.keys())))


def _of_tree(root: Path, sources: Sequence[str], label: str, apart: bool) -> tuple[Side, ...]:
    from lastbit.perf.apart import kernels

    found = []
    root = root.resolve()
    for source in sources:
        tree = None if apart else trees.load(root, [source])
        own, enter = (tree.kernels, tree.enter) if tree else (kernels(root, source), trees.leave)
        found += [Side(one, label, ((TREE, (str(root), source, one.name)),), enter, apart) for one in own]
    return tuple(found)


def _place(folder: Path) -> Path:
    """Where the folder lies in its repository."""
    return folder.resolve().relative_to(trees.top(folder))
