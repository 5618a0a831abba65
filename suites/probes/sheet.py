"""Sheet, the datasheet of one kernel, formats and shape: every probe in the order of what confounds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lastbit.references.formats import Format
from lastbit.suites.probes import (
    alignment_probes,
    integer_probes,
    operand_probes,
    special_probes,
    sum_probes,
    tree_probe,
)
from lastbit.suites.probes.access import Access, Spent
from lastbit.suites.probes.answer import Answer, undecided, value_of
from lastbit.suites.probes.confirm import Confirmation, confirm, unconfirmed
from lastbit.suites.probes.model import Model, model
from lastbit.suites.probes.span import Span
from lastbit.suites.probes.spots import Spots, spots
from lastbit.suites.probes.tree_probe import Swamp
from lastbit.suites.probes.trees import Tree

#: What no probe can decide without a tree.
AFTER_TREE = (
    ("P1", "fraction_bits"),
    ("P4", "precision"),
    ("P4", "rounding"),
    ("P4", "output_rounding"),
    ("P5", "alignment"),
    ("P5", "interleaved"),
    ("P7", "carry_bits"),
    ("P7", "carry_alignment"),
    ("P6", "products_normalised"),
    ("P6", "subnormal_exponent"),
    ("P15", "sum_range"),
    ("P6", "floor"),
    ("P10", "fma"),
    ("P17", "monotone"),
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the probes found of one kernel in one class of shapes."""

    formats: Mapping[str, str]
    shape: str
    answers: tuple[Answer, ...]
    tree: Tree | None
    model: Model | None
    confirmation: Confirmation
    spent: Spent = field(default_factory=Spent)

    def answer(self, property: str) -> Answer:
        """The answer on a property; raises KeyError where no probe gave one."""
        return {answer.property: answer for answer in self.answers}[property]


@dataclass(frozen=True, slots=True)
class Findings:
    """What the probes found, before anything is compared."""

    answers: dict[str, Answer]
    tree: Tree | None
    model: Model | None
    #: Why there is no model; "" where there is one.
    missing: str


def sheet(access: Access, also: Access | None = None) -> Sheet:
    """The datasheet of a GEMM kernel in the access's formats and shape, its model compared with it.

    `also`: the kernel with sums of another length, whose tree tells orders apart that are one in this shape.

    Raises AccessError where the kernel gives no result at all.
    """
    if integer_probes.is_integer(access):
        integers = tuple(integer_probes.integer(access))
        none = unconfirmed("integers have no roundings: P23 says whether their sums are exact")
        return Sheet(access.formats, access.shape.text, integers, None, None, none, access.spent)
    found = findings(access, also)
    made = found.model
    confirmation = unconfirmed(found.missing) if made is None else confirm(access, made, span_of(access))
    answers = tuple(found.answers.values())
    return Sheet(access.formats, access.shape.text, answers, found.tree, made, confirmation, access.spent)


def span_of(access: Access) -> Span:
    """The numbers that the access's formats leave."""
    a, b, out = (Format.of(access.formats[name]) for name in ("a", "b", "out"))
    return Span(a, b, out)


def findings(access: Access, also: Access | None = None) -> Findings:
    """Every probe's answer in the order of what confounds them, and the model that they make."""
    span = span_of(access)
    found: dict[str, Answer] = {}

    def note(*answers: Answer) -> None:
        found.update({answer.property: answer for answer in answers})

    note(operand_probes.input_subnormals(access, span), operand_probes.result_subnormals(access, span))
    span = replace(span, subnormal=value_of(found, "input_subnormals") == "kept")
    swamp = tree_probe.find_swamp(access, span)
    drawn, tree = tree_probe.tree(access, span, swamp)
    note(drawn, tree_probe.group(tree, drawn))
    places = None if tree is None else spots(tree)
    if places is None or swamp is None:
        note(*_nothing_without_tree(drawn))
    else:
        note(*_sums(access, span, places, swamp, found))
    if tree is not None and swamp is not None and not _is_sound(found, swamp, access.shape.k):
        tree = None
        note(undecided("P3", "tree", "the formats' range is too narrow to swamp all terms", found["tree"].evidence))
    entering, with_addend = _addend(access, span)
    note(entering)
    note(*operand_probes.input_precision(access, span), operand_probes.split_emulation(access, span))
    note(*special_probes.special(access, span))
    other = None if also is None or tree is None else _other_tree(also, span)
    made, missing = model(found, span, tree, other, with_addend)
    return Findings(found, tree, made, missing)


def _sums(access: Access, span: Span, places: Spots, swamp: Swamp, found: dict[str, Answer]) -> list[Answer]:
    on = sum_probes.bench(access, span, places, swamp.large)
    known = dict(found)
    given: list[Answer] = []

    def note(*answers: Answer) -> None:
        known.update({answer.property: answer for answer in answers})
        given.extend(answers)

    note(sum_probes.fraction_bits(on))
    note(sum_probes.precision(on, known))
    note(sum_probes.rounding(on, known))
    note(sum_probes.output_rounding(on, known))
    note(*alignment_probes.alignment(on, known))
    note(*alignment_probes.carry(on, known))
    note(alignment_probes.normalised(on, known))
    note(operand_probes.subnormal_exponent(on, known))
    note(sum_probes.sum_range(on, known))
    note(operand_probes.lowest_exponent(on, known))
    note(operand_probes.fused_multiply_add(access, span, places, known))
    note(alignment_probes.monotonicity(on, known))
    return given


def _nothing_without_tree(drawn: Answer) -> list[Answer]:
    exact = drawn.value == "exact"
    reason = "nothing is ever lost" if exact else "it takes the tree, which could not be decided"
    return [undecided(probe, name, reason) for probe, name in AFTER_TREE]


def _other_tree(access: Access, span: Span) -> tuple[Tree, int] | None:
    """The tree of sums of another length."""
    _, tree = tree_probe.tree(access, span, tree_probe.find_swamp(access, span))
    return None if tree is None else (tree, access.shape.k)


def _is_sound(found: Mapping[str, Answer], swamp: Swamp, k: int) -> bool:
    bits = found["fraction_bits"].value
    return isinstance(bits, int) and tree_probe.is_sound(swamp, bits, k)


def _addend(access: Access, span: Span) -> tuple[Answer, Tree | None]:
    """P7: where the addend enters, as one more leaf of the tree."""
    if not access.addend:
        return undecided("P7", "addend", "the kernel takes no addend"), None
    swamp = tree_probe.find_swamp(access, span, addend=True)
    drawn, tree = tree_probe.tree(access, span, swamp, addend=True)
    if tree is None:
        return undecided("P7", "addend", drawn.indeterminate_reason or "nothing is ever lost"), None
    k = access.shape.k
    if isinstance(tree, tuple) and tree[-1] == k and len(tree) == 2:
        return Answer("P7", "addend", "last", f"the tree is {drawn.value}, {k} the addend"), tree
    return Answer("P7", "addend", "first", f"the tree is {drawn.value}, {k} the addend"), tree
