"""The mutants of one module: every place where an operator applies, and the module's text with that mistake."""

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from mutation.operators import operators


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake in one module; `key` says which without a line number."""

    module: str
    operator: str
    #: Qualified name of the outermost function (or method) that contains the mistake; "" for the module itself.
    function: str
    #: First and last line of the statement that contains it, from 1.
    lines: tuple[int, int]
    #: The changed lines, stripped and joined, before and after.
    line: str
    mutant: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a list of survivors names: module, function, line and mutant."""
        return self.module, self.function, self.line, self.mutant

    def diff(self, original: str) -> str:
        """The mistake as a unified diff."""
        pieces = difflib.unified_diff(
            original.splitlines(),
            self.source.splitlines(),
            self.module,
            f"{self.module} ({self.operator})",
            "",
            "",
            2,
            "",
        )
        return "\n".join(pieces)


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of `source`, the text of the file `module`, in the order of their lines; no two alike."""
    found: dict[str, Mutant] = {}
    lines = source.splitlines(keepends=True)
    # Each top-level statement is mutated by itself: parsing and writing a whole module for each mutant takes minutes.
    for part in get_ast(source).children:
        first, last = part.start_pos[0], part.end_pos[0] if part.end_pos[1] else part.end_pos[0] - 1
        before, text, after = ("".join(piece) for piece in (lines[: first - 1], lines[first - 1 : last], lines[last:]))
        for mutant, mutated in _of_statement(module, text, first - 1):
            whole = before + mutated + after
            found.setdefault(whole, replace(mutant, source=whole))
    return sorted(found.values(), key=lambda mutant: mutant.lines)


def _of_statement(module: str, text: str, offset: int) -> Iterator[tuple[Mutant, str]]:
    """The mutants of one top-level statement and its mutated text; it begins on line offset + 1."""
    tree = get_ast(text)
    for name, operator in operators():
        nodes = (node for node in ast_nodes(tree) for _ in operator.mutation_positions(node))
        for occurrence, node in enumerate(nodes):
            if _of_no_effect(node):
                continue
            mutated = mutate_code(text, operator, occurrence)
            if mutated is None or not _compiles(mutated) or _same(name, text, mutated):
                continue
            first, last = _statement(node)
            before, after = _changed(text, mutated)
            yield Mutant(module, name, _function(node), (first + offset, last + offset), before, after, ""), mutated


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _same(name: str, text: str, mutated: str) -> bool:
    """Whether a number was replaced by itself: 1e308 + 1 is 1e308."""
    return name == "NumberReplacer" and ast.dump(ast.parse(text)) == ast.dump(ast.parse(mutated))


def _changed(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, stripped and joined."""
    old, new = before.splitlines(), after.splitlines()
    sides: tuple[list[str], list[str]] = ([], [])
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            sides[0].extend(line.strip() for line in old[i:j])
            sides[1].extend(line.strip() for line in new[k:m])
    return " ".join(sides[0]), " ".join(sides[1])


def _ancestors(node: Any) -> Iterator[Any]:
    while node is not None:
        yield node
        node = node.parent


#: Arguments that assert what holds anyway, or that forbid what nobody does.
ASSERTIONS = {"strict", "frozen", "slots", "kw_only"}


def _of_no_effect(node: Any) -> bool:
    """Whether no test can see a change of `node`, or none that is a mistake: in an annotation, a block for type
    checkers, an assertion, the star of a signature, or the -1 of reshape, for which numpy takes any negative number."""
    if node.type == "number" and node.parent.type == "factor" and node.parent.parent.type == "trailer":
        name = node.parent.parent.get_previous_leaf()
        if name.value == "reshape":
            return True
    if node.type == "operator" and node.parent.type == "parameters":  # the star before keyword-only parameters
        return True
    for child in _ancestors(node):
        parent = child.parent
        if parent is None:
            return False
        if parent.type in ("tfpdef", "annassign") and parent.children[1 if parent.type == "annassign" else 2] is child:
            return True
        if parent.type == "argument" and parent.children[0].get_code().strip() in ASSERTIONS:
            return True
        if parent.type == "funcdef" and child in parent.children[3:-1]:
            return True
        if child.type == "if_stmt" and child.children[1].get_code().strip() == "TYPE_CHECKING":
            return True
    return False


def _function(node: Any) -> str:
    """Qualified name of the outermost function around `node`, if it is in the body; a default value is the module's."""
    chain = list(_ancestors(node))
    names: list[str] = []
    for inner, outer in zip(reversed(chain[:-1]), reversed(chain[1:]), strict=True):
        if outer.type == "funcdef":
            return ".".join([*names, outer.name.value]) if inner is outer.children[-1] else ""
        if outer.type == "classdef":
            names.append(outer.name.value)
    return ""


def _statement(node: Any) -> tuple[int, int]:
    """First and last line of the smallest statement around `node`; of a compound one, its head."""
    for child in _ancestors(node):
        if child.type == "simple_stmt" or (child.type.endswith("_stmt") and child.parent.type != "simple_stmt"):
            last = child.get_last_leaf().end_pos[0]
            if child.type != "simple_stmt":
                last = next(part.start_pos[0] for part in child.children if getattr(part, "value", "") == ":")
            else:
                last = child.children[-2].end_pos[0] if len(child.children) > 1 else last
            return child.start_pos[0], max(last, child.start_pos[0])
        if child.type in ("funcdef", "classdef"):
            return child.start_pos[0], child.start_pos[0]
    return node.start_pos[0], node.end_pos[0]
