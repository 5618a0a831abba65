"""Imports point one way: references <- core <- golden, reports; suites use core and references; the root uses all."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "references": "references",
    "suites": "suites",
    "golden": "golden",
    "reports": "reports",
    "core": "plugins/lastbit",
}
#: What each part may import at the top of a module, and what inside a function besides.
TOP = {
    "references": {"references"},
    "core": {"core", "references"},
    "golden": {"golden", "core", "references"},
    "reports": {"reports", "core", "references"},
    "suites": {"suites", "core", "references"},
}
INSIDE = {"golden": {"reports"}, "reports": {"golden"}}
#: The composition root, which imports everything, inside functions.
ROOT_MODULES = {
    "plugin",
    "walk",
    "session",
    "verify",
    "cli",
    "discovery",
    "zoo_command",
    "report_command",
    "bundle_command",
    "explaining",
    "datasheet_command",
    "compare_command",
    "compare_runs_command",
    "merge_command",
    "speed_command",
    "compare",
    "phase",
    "callgrind_worker",
}
#: Third-party modules that references may use: the truth shares no code with what is under test.
REFERENCES_MAY = {"numpy", "mpmath", "gmpy2"} | set(sys.stdlib_module_names)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether inside a function) of each import that is not for type checkers alone."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield from ((f"{child.module}.{alias.name}", inside) for alias in child.names)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            else:
                yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def part(module: str) -> str | None:
    """The part of lastbit that `module` belongs to; None if it is not lastbit's."""
    first, _, rest = module.partition(".")
    if first != "lastbit":
        return None
    second = rest.partition(".")[0]
    return second if second in FOLDERS else "core"


def modules() -> list[tuple[str, Path]]:
    return [
        (name, path)
        for name, folder in FOLDERS.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "meta" not in path.parts
    ]


@pytest.mark.parametrize(("where", "path"), modules(), ids=[str(path.relative_to(ROOT)) for _, path in modules()])
def test_imports_point_one_way(where: str, path: Path) -> None:
    for module, inside in imports(path):
        target = part(module)
        allowed = TOP[where] | (INSIDE.get(where, set()) if inside else set())
        if where == "core" and path.stem in ROOT_MODULES and inside:
            allowed = set(FOLDERS)
        if target is not None:
            assert target in allowed, f"{where} imports {module}{' inside a function' if inside else ''}"
        elif where == "references":
            assert module.partition(".")[0] in REFERENCES_MAY, f"references imports {module}"


def test_rule_sees_a_wrong_import(tmp_path: Path) -> None:
    """The reader of imports finds what is planted, in and out of functions, and skips what only type checkers see."""
    planted = tmp_path / "planted.py"
    planted.write_text(
        "from typing import TYPE_CHECKING\nimport lastbit.suites.law\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from lastbit.reports import run\n"
    )
    found = [(module, inside) for module, inside in imports(planted) if part(module)]
    assert found == [("lastbit.suites.law", False), ("lastbit.reports.run", True)]
    assert [part(module) for module, _ in found] == ["suites", "reports"]


def test_plugin_loads_no_framework_and_no_numpy(pytester: pytest.Pytester) -> None:
    """A stranger's run with the plugin, options parsed and nothing of the law collected, stays light."""
    pytester.makepyfile(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'numpy', 'torch', 'msgspec', 'mpmath', 'tabulate', 'hypothesis', 'jinja2'} & set(sys.modules)\n"
        "    assert 'lastbit.plugin' in sys.modules\n"
        "    assert not heavy\n"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'plugins')!r}); import lastbit, pytest\n"
        "sys.exit(pytest.main(['-p', 'lastbit.plugin', '-p', 'no:hypothesispytest', '-p', 'no:cacheprovider']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=pytester.path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_public_names_are_not_hidden_by_submodules() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
        f"import lastbit; lastbit.__path__.append({str(ROOT)!r})\n"
        "import lastbit.kernel, lastbit.verify\n"
        "from types import FunctionType\n"
        "assert isinstance(lastbit.kernel, FunctionType) and isinstance(lastbit.verify, FunctionType)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
