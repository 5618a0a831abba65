"""The mutation operators: those of cosmic-ray that make a sensible mistake, and the mistakes that it does not know."""

from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators import binary_operator_replacement as binary
from cosmic_ray.operators import boolean_replacer, break_continue, number_replacer, zero_iteration_for_loop
from cosmic_ray.operators import comparison_operator_replacement as comparison
from cosmic_ray.operators import unary_operator_replacement as unary
from cosmic_ray.operators.operator import Example, Operator

#: The binary operators that a person confuses; all pairs would add mutants that no test can miss.
BINARY = {
    *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul"),
    *("LShift_RShift", "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitAnd"),
}
#: Each comparison at its boundary, and negated.
COMPARISON = {
    *("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
    *("Is_IsNot", "IsNot_Is"),
}
UNARY = {"USub_UAdd", "Delete_Invert", "Delete_Not"}

#: Functions whose place another takes, and functions of one argument that may be forgotten.
CONFUSED = {
    "abs": "",
    "all": "any",
    "any": "all",
    "ceil": "floor",
    "floor": "ceil",
    "fmax": "fmin",
    "hypot": "add",
    "isfinite": "isnan",
    "isinf": "isnan",
    "isnan": "isinf",
    "max": "min",
    "maximum": "minimum",
    "min": "max",
    "minimum": "maximum",
    "rint": "floor",
    "signbit": "isnan",
    "spacing": "abs",
    "sqrt": "",
    "square": "",
    "sum": "max",
    "flatnonzero": "argmax",
    "argmax": "argmin",
}


class SkipStatement(Operator):  # type: ignore[misc]  # cosmic-ray is not typed
    """Leaves out a statement that does something: a call, a change of a value, a raise, an early return."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt" and _acts(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.get_first_leaf()
        return parso.parse(f"{first.prefix}pass\n")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("if x:\n    raise y\n", "if x:\n    pass\n"), Example("x += 1\n", "pass\n"))


class ConfuseFunction(Operator):  # type: ignore[misc]
    """Calls another function in place of one, or none: max for min, any for all, x for abs(x)."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type in ("atom_expr", "power") and self._called(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        where = self._called(node)
        name, other = where, CONFUSED[where.value]
        if other:
            name.value = other
            return node
        *before, call = node.children[: node.children.index(name.parent if name.parent is not node else name) + 2]
        rest = node.children[len(before) + 1 :]
        inner = "".join(child.get_code() for child in call.children[1:-1])
        text = f"{before[0].get_first_leaf().prefix}({inner})" + "".join(child.get_code() for child in rest)
        return parso.parse(text)

    @staticmethod
    def _called(node: Any) -> Any:
        """The last name of `name(...)`, `module.name(...)` or `value.name(...)`; None if it is not confused."""
        children = node.children
        for position, child in enumerate(children[1:], 1):
            if child.type == "trailer" and child.children[0].value == "(":
                before = children[position - 1]
                name = before.children[1] if before.type == "trailer" and before.children[0].value == "." else before
                if name.type != "name" or name.value not in CONFUSED:
                    continue
                if CONFUSED[name.value]:
                    return name
                if position <= 2 and children[0].type == "name" and len(child.children) == 3:
                    return name
        return None

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x = max(1, 2)", "x = min(1, 2)"), Example("y = np.abs(x)", "y = (x)"))


class DropRow(Operator):  # type: ignore[misc]
    """Leaves a row out of a table of the module: a check, a metric, a counterfeit, a rule."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for row in self._rows(node):
            yield row[0].start_pos, row[-1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        gone = list(self._rows(node))[index]
        node.children = [child for child in node.children if not any(child is leaf for leaf in gone)]
        return node

    @staticmethod
    def _rows(node: Any) -> Iterator[list[Any]]:
        """The leaves of each row, with its comma."""
        if node.type not in ("testlist_comp", "dictorsetmaker", "testlist") or not _in_table(node):
            return
        if any(child.type in ("comp_for", "sync_comp_for") for child in node.children):
            return
        row: list[Any] = []
        for child in node.children:
            row.append(child)
            if child.type == "operator" and child.value == ",":
                yield row
                row = []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("T = (1, 2, 3)\n", "T = ( 2, 3)\n"),)


def _acts(statement: Any) -> bool:
    """Whether leaving out `statement` leaves all names defined."""
    if statement.type in ("atom_expr", "raise_stmt"):
        return True
    if statement.type == "return_stmt":
        suite = statement.parent.parent
        return bool(suite.type == "suite" and suite.parent.type in ("if_stmt", "for_stmt", "while_stmt"))
    if statement.type != "expr_stmt":
        return False
    target, sign = statement.children[0], statement.children[1]
    return bool((sign.type == "operator" and sign.value != "=" and sign.value != ":=") or target.type == "atom_expr")


def _in_table(node: Any) -> bool:
    """Whether `node` is directly the value of a name that the module defines."""
    atom = node.parent if node.type != "testlist" else node
    statement = atom.parent
    if statement.type == "annassign":
        statement = statement.parent
    return bool(
        statement.type == "expr_stmt"
        and statement.parent.type == "simple_stmt"
        and statement.parent.parent.type == "file_input"
    )


def operators() -> list[tuple[str, Operator]]:
    """(name, operator) of all operators in use."""
    found: list[type[Operator]] = [
        *(op for op in binary.operators() if op.__name__.partition("_")[2] in BINARY),
        *(op for op in comparison.operators() if op.__name__.partition("_")[2] in COMPARISON),
        *(op for op in unary.operators() if op.__name__.partition("_")[2] in UNARY),
        *(boolean_replacer.ReplaceTrueWithFalse, boolean_replacer.ReplaceFalseWithTrue, boolean_replacer.AddNot),
        *(boolean_replacer.ReplaceAndWithOr, boolean_replacer.ReplaceOrWithAnd),
        *(break_continue.ReplaceBreakWithContinue, break_continue.ReplaceContinueWithBreak),
        *(number_replacer.NumberReplacer, zero_iteration_for_loop.ZeroIterationForLoop),
        *(SkipStatement, ConfuseFunction, DropRow),
    ]
    return [(op.__name__, op()) for op in found]
