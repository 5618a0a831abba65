"""Model, the arithmetic that a datasheet's answers add up to: what a simulator and a bound are made of."""

from dataclasses import dataclass

import numpy as np

from lastbit.references import engines
from lastbit.references.accumulators import Accumulator
from lastbit.references.formats import Format
from lastbit.references.tree_sums import tree_dot
from lastbit.suites.probes import trees
from lastbit.suites.probes.answer import Known, value_of, whole
from lastbit.suites.probes.span import Array, Span
from lastbit.suites.probes.trees import Order, Tree

#: (emin, emax) of carried sums by their precision: matrix engines' E8M13 too has f32's exponents.
RANGES = {53: (-1022, 1023)}
F32_RANGE, F16_RANGE = (-126, 127), (-14, 15)


@dataclass(frozen=True, slots=True)
class Model:
    """How a kernel adds: simulated, it gives the kernel's bits."""

    accumulator: Accumulator
    out: Format
    #: The tree where it has no name, over the slots of one shape, and k for an addend that is one of them; None where
    #: the accumulator's order says it.
    tree: Tree | None = None
    #: Rounding of the sum to the result's format.
    output_rounding: str = "nearest-even"
    #: Whether the addend is added to the rounded sum in f32, after the accumulator is done.
    epilogue: bool = False

    def product(self, a: Array, b: Array, c: Array | None = None) -> Array:
        """What the kernel gives for a (m, k) @ b (k, n) + c (m, n)."""
        inside = None if self.epilogue else c
        if self.tree is None:
            total = self.accumulator.matmul(a, b, inside)
        else:
            total = np.empty((a.shape[0], b.shape[1]))
            for row in range(0, len(a), 8):
                part = np.ascontiguousarray(a[row : row + 8].T)[:, :, None]
                addend = None if inside is None else inside[row : row + 8]
                total[row : row + 8] = tree_dot(self.accumulator, self.tree, part, b[:, None, :], addend)
        if c is not None and self.epilogue:
            total = engines.f32_add(total, c) if self.accumulator.precision <= 24 else total + c
        return self.rounded(total)

    def dot(self, a: Array, b: Array, c: Array | None = None) -> Array:
        """What the kernel gives for a . b + c of each row: (n, k), (n, k), (n,)."""
        if self.tree is None and not self.epilogue:
            return self.rounded(self.accumulator.dot(a, b, c))
        return np.array(
            [
                self.product(x[None], y[:, None], None if c is None else c[i].reshape(1, 1))[0, 0]
                for i, (x, y) in enumerate(zip(a, b, strict=True))
            ]
        )

    def rounded(self, total: Array) -> Array:
        """The sum in the result's format."""
        with np.errstate(all="ignore"):
            return self.out.round(total, rounding=self.output_rounding)


def model(
    known: Known,
    span: Span,
    tree: Tree | None,
    other: tuple[Tree, int] | None = None,
    with_addend: Tree | None = None,
) -> tuple[Model | None, str]:
    """The model that the answers make, or None and what is missing.

    `other`: the tree of sums of another length, and that; `with_addend`: the tree with the addend.
    """
    if value_of(known, "tree") == "exact":
        return None, "no sum of these formats loses anything: there is no model to tell from exact sums"
    needed = ("tree", "fraction_bits", "precision", "rounding")
    missing = [name for name in needed if value_of(known, name) is None]
    if tree is None or missing:
        return None, f"not known: {', '.join(missing)}"
    if value_of(known, "products_normalised"):
        return None, "products are normalised before they are aligned, which no accumulator here does"
    order = order_of(tree, other)
    make = _fused if trees.fused_leaves(tree) > 1 else _chain
    accumulator = make(known, span, tree, order)
    if accumulator is None:
        return None, "the roundings of a block's terms and of the carried sum are of no engine here"
    rounding = value_of(known, "output_rounding")
    # A chain in a named order adds an addend that is last by itself.
    is_last = value_of(known, "addend") == "last"
    is_apart = accumulator.engine != "chain" or accumulator.order == "any"
    return (
        Model(
            accumulator,
            span.out,
            None if accumulator.order != "any" else tree if is_last else with_addend or tree,
            "nearest-even" if rounding in ("exact", None) else str(rounding),
            epilogue=is_last and is_apart,
        ),
        "",
    )


def order_of(tree: Tree, other: tuple[Tree, int] | None) -> Order | None:
    """The order of a tree, and of another of the same kernel; None where no order is that of both."""
    candidates = trees.orders(tree)
    if other is not None:
        second = trees.orders(other[0])
        candidates = [one for one in candidates if one in second]
    return candidates[0] if candidates else None


def _chain(known: Known, span: Span, tree: Tree, order: Order | None) -> Accumulator | None:
    precision = whole(known, "precision") or 0
    emin, emax = _range(known, precision)
    rounding = value_of(known, "rounding")
    if rounding not in ("nearest-even", "toward-zero", "down"):
        return None
    return Accumulator(
        name="measured",
        engine="chain",
        precision=precision,
        emin=emin,
        emax=emax,
        rounding=str(rounding),
        order=order.order if order else "any",
        width=order.width if order else 0,
        fma=value_of(known, "fma") is not False,
        addend="last" if value_of(known, "addend") == "last" else "first",
        flush=_flushes(known),
        input_emin=min(span.a.emin, span.b.emin),
        input_precision=_read(known),
        source="measured by lastbit datasheet",
    )


def _fused(known: Known, span: Span, tree: Tree, order: Order | None) -> Accumulator | None:
    carried, aligned = value_of(known, "carry_alignment"), value_of(known, "alignment")
    precision, terms = whole(known, "precision") or 0, trees.fused_leaves(tree)
    bits = whole(known, "fraction_bits") or 0
    late = carried == "none"
    rounding = value_of(known, "rounding")
    engine = "cdna3" if (aligned, carried) == ("toward-zero", "down") else "fused"
    kept = whole(known, "carry_bits")
    if engine == "fused" and not late and (carried not in (None, aligned) or kept not in (None, bits)):
        return None
    if engine == "cdna3" and kept != engines.CDNA3_ADDEND_BITS:
        return None
    if aligned not in (*engines.ALIGN, None) or rounding not in ("nearest-even", "toward-zero", "down"):
        return None
    if engine == "cdna3" and order is not None and order != Order("sequential"):
        order = None
    late = late and order is not None and order.late
    emin, emax = _range(known, precision)
    return Accumulator(
        name="measured",
        engine=engine,
        precision=precision,
        emin=emin,
        emax=emax,
        rounding=str(rounding),
        order=order.order if order else "any",
        width=order.width if order else 0,
        addend="last" if late else "first",
        flush=_flushes(known),
        terms=terms,
        fraction_bits=bits,
        alignment=str(aligned or "toward-zero"),
        floor=whole(known, "floor") or -300,
        interleaved=value_of(known, "interleaved") is True,
        input_emin=-1022 if value_of(known, "subnormal_exponent") == "value" else min(span.a.emin, span.b.emin),
        input_precision=_read(known),
        promote=order.promote if order else 0,
        source="measured by lastbit datasheet",
    )


def _range(known: Known, precision: int) -> tuple[int, int]:
    if precision in RANGES:
        return RANGES[precision]
    return F16_RANGE if value_of(known, "sum_range") == "f16" else F32_RANGE


def _flushes(known: Known) -> bool:
    return "flushed" in (value_of(known, "input_subnormals"), value_of(known, "result_subnormals"))


def _read(known: Known) -> int:
    return 0 if value_of(known, "input_rounding") in ("exact", None) else whole(known, "input_precision") or 0
