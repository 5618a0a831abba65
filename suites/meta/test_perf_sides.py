"""What two texts name, kernels, files, modules, folders and commits, and that each side computes with its own code."""

import importlib.machinery
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import cheating_softmaxes as cheats
import numpy as np
import pytest

from lastbit.errors import UsageError
from lastbit.kernel import REGISTRY
from lastbit.perf import trees
from lastbit.perf.sides import Side, match, named, reached, side

KERNELS = """
import lastbit
{head}
def run(x):
    {body}

FORMATS = {{"x": "f32", "out": "f32"}}
KERNELS = [lastbit.Kernel("mine/softmax", "softmax", run, FORMATS, framework="numpy", devices=("cpu",))]
"""


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def write(
    folder: Path, factor: int, head: str = "from pkg.impl import factor", body: str = "return factor() * x"
) -> None:
    (folder / "pkg").mkdir(parents=True, exist_ok=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "impl.py").write_text(f"def factor():\n    return {factor}\n")
    (folder / "kernels.py").write_text(KERNELS.format(head=head, body=body))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two commits, tagged one and two, whose kernel multiplies by 1 and by 2; the working tree's by 3."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for factor, tag in ((1, "one"), (2, "two")):
        write(folder, factor)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)
    write(folder, 3)
    monkeypatch.chdir(folder)
    before, path = set(sys.modules), list(sys.path)
    yield folder
    trees.leave()
    assert "pkg" not in set(sys.modules) - before
    assert sys.path == path


def factor(one: Side) -> float:
    one.enter()
    return float(one.kernel.run(np.float32(1)))


@pytest.mark.parametrize("lazy", [False, True], ids=["imports at the top", "imports when called"])
def test_commits_side_by_side(repository: Path, lazy: bool) -> None:
    """Also of a kernel that imports its package each time it is called."""
    if lazy:
        for number, tag in ((4, "one"), (5, "two")):
            write(repository, number, "", "from pkg.impl import factor; return factor() * x")
            git(repository, "commit", "--all", "--quiet", "--message", tag)
            git(repository, "tag", "--force", tag)
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    with named("one", ["kernels.py"]) as (base,), named("two", ["kernels.py"]) as (head,):
        for _ in range(3):
            assert (factor(base), factor(head)) == ((4, 5) if lazy else (1, 2))
        root = Path(base.ways[0][1][0])
        assert root.is_dir()
        assert factor(reached(base.ways, "one")) == factor(base)
    assert not root.exists()
    after = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    assert after == status


def test_a_module_that_is_first_imported_when_called_stays(repository: Path) -> None:
    """It is imported once for each side, not at every call: that would be timed."""
    body = "import pkg.late; return pkg.late.TIMES * x"
    for number in (1, 2):
        write(repository, number, "", body)
        late = f"import os\nTIMES = {number}\nos.environ['LATE'] = os.environ.get('LATE', '') + str(TIMES)\n"
        (repository / "pkg" / "late.py").write_text(late)
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", "late")
        git(repository, "tag", f"late{number}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATE", "")
        with named("late1", ["kernels.py"]) as (base,), named("late2", ["kernels.py"]) as (head,):
            assert [factor(one) for one in (base, head) * 3] == [1, 2] * 3
        import os

        assert os.environ["LATE"] == "12"


def test_folders_files_and_modules(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    write(other, 7)
    module = types.ModuleType("cheating_kernels")
    vars(module)["KERNELS"] = [cheats.kernel(cheats.right)]
    monkeypatch.setitem(sys.modules, "cheating_kernels", module)
    monkeypatch.setattr(module, "__spec__", importlib.machinery.ModuleSpec("cheating_kernels", None))
    with named("./pkg/../", ["kernels.py"]) as (here,), named(str(other), ["kernels"]) as (there,):
        assert (factor(here), factor(there)) == (3, 7)
    with named("kernels.py") as (file,), named(str(other / "kernels.py")) as (same_name,):
        assert (factor(file), factor(same_name), factor(file)) == (3, 7, 3)
        assert (file.label, same_name.label) == ("kernels.py", str(other / "kernels.py"))
    with named("numpy/softmax") as (provided,):
        assert provided.kernel.name == "numpy/softmax"
        assert reached(provided.ways, "again").kernel.name == "numpy/softmax"
    with named("cheating_kernels") as (module,):
        assert module.kernel.name == "cheat/softmax"
        assert module.label == "cheating_kernels:cheat/softmax"


def test_registered_kernels_of_both_trees(repository: Path) -> None:
    """@lastbit.kernel fills a registry of one process: each tree has its own meanwhile."""
    text = (
        "import lastbit\n\n@lastbit.kernel('softmax', name='mine/registered', formats={{'x': 'f32', 'out': 'f32'}}, "
        "framework='numpy')\ndef run(x):\n    return {} * x\n"
    )
    for number, tag in ((1, "registered1"), (2, "registered2")):
        (repository / "kernels.py").write_text(text.format(number))
        git(repository, "commit", "--all", "--quiet", "--message", tag)
        git(repository, "tag", tag)
    before = dict(REGISTRY)
    with named("registered1", ["kernels.py"]) as (base,), named("registered2", ["kernels.py"]) as (head,):
        assert (factor(base), factor(head)) == (1, 2)
    assert before == REGISTRY


@pytest.mark.parametrize(
    ("text", "sources", "said"),
    [
        ("one", (), "one is a commit: name its kernels' file or module with --kernels"),
        ("./pkg", (), "./pkg is a folder: name the file or module of its kernels"),
        ("nothing", (), "nothing is none of a file, a ./folder, a module, a commit, or provider/kernel"),
        ("nobody/softmax", (), "no kernel matches 'nobody/softmax'"),
        ("one", ("absent.py",), "absent.py is not there"),
        ("one", ("unbuilt.py",), "build each state in a folder of its own"),
        ("two", ("twice.py",), "register each under a namespace of its own"),
    ],
)
def test_what_is_no_side(repository: Path, text: str, sources: tuple[str, ...], said: str) -> None:
    (repository / "unbuilt.py").write_text("import pkg._compiled\n")
    (repository / "twice.py").write_text("raise RuntimeError('operator mine::softmax is already registered')\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "faults")
    for tag in ("one", "two"):
        git(repository, "tag", "--force", tag)
    with pytest.raises(UsageError, match=said.replace(".", r"\.")), named(text, sources):
        pass


def test_an_installed_package_does_not_stand_in_for_the_tree(repository: Path, tmp_path: Path) -> None:
    """A package of that name which was imported before is put aside, and back."""
    other = tmp_path / "installed"
    write(other, 9)
    sys.path.insert(0, str(other))
    try:
        import pkg.impl  # type: ignore[import-not-found]

        with named("one", ["kernels.py"]) as (base,):
            assert factor(base) == 1
            trees.leave()
            assert sys.modules["pkg.impl"] is pkg.impl
            assert sys.modules["pkg.impl"].factor() == 9
    finally:
        sys.path.remove(str(other))
        for name in ("pkg", "pkg.impl"):
            del sys.modules[name]


def test_who_is_compared_with_whom() -> None:
    def sides(*names: str) -> tuple[Side, ...]:
        from dataclasses import replace

        with named("numpy/softmax") as (one,):
            return tuple(replace(one, kernel=replace(one.kernel, name=name)) for name in names)

    found = match(sides("a/x", "a/y", "a/z"), sides("a/y", "a/x", "a/w"))
    assert [(one.kernel.name, other.kernel.name) for one, other in found.pairs] == [("a/x", "a/x"), ("a/y", "a/y")]
    assert (found.gone, found.new) == (("a/z",), ("a/w",))
    found = match(sides("a/x"), sides("b/x"))
    assert [(one.kernel.name, other.kernel.name) for one, other in found.pairs] == [("a/x", "b/x")]
    assert len(match(sides("a/x", "a/y"), sides("a/x", "a/y"), "*/y").pairs) == 1
    for base, head, glob in ((("a/x", "a/y"), ("b/x",), ""), (("a/x",), ("a/x",), "b/*")):
        with pytest.raises(UsageError, match="no kernel to compare"):
            match(sides(*base), sides(*head), glob)


def test_a_local_function_has_no_way() -> None:
    assert side(cheats.kernel(cheats.right)).ways
    with pytest.raises(UsageError, match="cannot be found again"):
        reached((), "nobody")
