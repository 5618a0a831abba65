"""What a softmax, log_softmax or logsumexp does with whole rows: -inf alone, NaN, large numbers, batches."""

from collections.abc import Callable

import numpy as np

from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
from lastbit.references.truth import Truth
from lastbit.references.ulp import kappa
from lastbit.suites.probes import exp_probes
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.invariance_probes import PARTS
from lastbit.suites.probes.op_access import Array, Ask, exact
from lastbit.suites.probes.repeat_probe import repeatable
from lastbit.suites.probes.row_tree_probe import row_tree

#: Widest source whose every code is asked.
EXHAUSTIVE = 16
#: Rows and columns of the batch whose rows are asked for alone.
BATCH = (64, 129)
TRUTHS: dict[str, Callable[[Array], Truth]] = {
    "softmax": softmax_truth,
    "log_softmax": log_softmax_truth,
    "logsumexp": logsumexp_truth,
}


def row_answers(ask: Ask) -> list[Answer]:
    """Every probe of a kernel of the softmax family; P24 of a softmax alone, for a logarithm hides exp.

    Raises AccessError where the kernel gives no result.
    """
    op, x, out = ask.kernel.op, Format.of(ask.formats["x"]), Format.of(ask.formats["out"])

    def rows(values: Array) -> Array:
        ask.spent.sums += len(values)
        return out.decode(ask({"x": exact(values, x.name)}).codes)

    found = _exponential(rows, x, out) if op == "softmax" else [_logarithm(rows, op)]
    return [
        *found,
        masked(rows, op),
        infinite(rows, op),
        nan(rows),
        maximum(rows, x, op),
        _repeatable(rows, x, ask.device),
        row_tree(rows, op, x),
        row_invariance(rows, x),
        table(ask, rows, x, out),
    ]


def _exponential(rows: Callable[[Array], Array], x: Format, out: Format) -> list[Answer]:
    over = exp_probes.seen(x, out)
    return [
        *exp_probes.error(rows, over),
        exp_probes.underflow(rows, over),
        exp_probes.monotone(rows, over),
        exp_probes.places(rows, over),
        exp_probes.one(rows, over),
        exp_probes.nothing(rows, over),
    ]


def _logarithm(rows: Callable[[Array], Array], op: str) -> Answer:
    """log(exp(0)) of a row of one number, which is 0 where exp(0) is 1."""
    got = rows(np.array([[0.0]]))
    told = f"{op} of one 0 is {float(got.reshape(-1)[0])!r}"
    return Answer("P24", "exp_zero", "exact" if not got.any() else "not exact", told)


def masked(rows: Callable[[Array], Array], op: str) -> Answer:
    """What a row of nothing but -inf gives, beside one of numbers."""
    got = rows(np.array([[-np.inf] * 5, [0.0, 1.0, 2.0, -1.0, 0.5]]))[0].reshape(-1)
    told = f"five times -inf gives {got[0]:g}"
    if op == "logsumexp":
        return Answer("P25", "masked_row", "-inf" if np.isneginf(got).all() else _word(got), told)
    return Answer("P25", "masked_row", _word(got), told)


def infinite(rows: Callable[[Array], Array], op: str) -> Answer:
    """What a row with +inf gives."""
    got = rows(np.array([[0.0, np.inf, 1.0], [0.0, 1.0, 2.0]]))[0].reshape(-1)
    told = f"0, inf, 1 give {', '.join(f'{one:g}' for one in got)}"
    if np.isnan(got).all():
        return Answer("P14", "infinite_row", "NaN", told)
    whole = op == "logsumexp" and np.isposinf(got).all()
    share = np.array_equal(got, [0.0, 1.0, 0.0])
    return Answer("P14", "infinite_row", "infinity" if whole else "all of the weight" if share else "mixed", told)


def nan(rows: Callable[[Array], Array]) -> Answer:
    """Whether NaN makes its row NaN and no other."""
    got = rows(np.array([[0.0, np.nan, 1.0], [0.0, 1.0, 2.0]]))
    told = f"0, NaN, 1 give {', '.join(f'{one:g}' for one in got[0].reshape(-1))}"
    fine = np.isnan(got[0]).all() and not np.isnan(got[1]).any()
    return Answer("P14", "nan", "its row" if fine else "not its row", told)


def maximum(rows: Callable[[Array], Array], x: Format, op: str) -> Answer:
    """Whether the largest number is taken off before exp: rows of two of the format's largest."""
    top = min(x.max, 2.0**100)
    got = rows(np.array([[top, top], [-top, -top]])).reshape(2, -1)
    told = f"{top:g} twice gives {got[0, 0]:g}, {-top:g} twice {got[1, 0]:g}"
    wanted = {"softmax": [0.5, 0.5], "logsumexp": [top, -top]}.get(op)
    if wanted is None:
        fine = np.isfinite(got).all() and (np.abs(got + np.log(2)) < 0.01).all()
    else:
        fine = np.allclose(got[:, 0], wanted, rtol=1e-2)
    return Answer("P24", "maximum_off", bool(fine), told)


def row_invariance(rows: Callable[[Array], Array], x: Format) -> Answer:
    """P19: whether a row's bits depend on how many rows there are."""
    values = _batch(x, 19)
    full, breaking, refused = rows(values), [], []
    for part in PARTS:
        try:
            same = np.array_equal(rows(values[:part]), full[:part], equal_nan=True)
        except AccessError:
            refused.append(part)
            continue
        breaking += [] if same else [part]
    told = f"of {BATCH[0]}x{BATCH[1]}, m = {', '.join(map(str, PARTS))}"
    told += f"; refused: {', '.join(map(str, refused))}" if refused else ""
    value = f"breaks at m = {', '.join(map(str, breaking))}" if breaking else "holds"
    return Answer("P19", "row_invariance", value, told)


def table(ask: Ask, rows: Callable[[Array], Array], x: Format, out: Format) -> Answer:
    """P22: rows of 0 and each number of a format of 16 bits, against the correctly rounded result."""
    if x.bits > EXHAUSTIVE:
        return undecided("P22", "kappa", f"{x.name} has 2^{x.bits} numbers")
    values = x.decode(np.arange(1 << x.bits).astype(x.code_dtype))
    values = values[np.isfinite(values)]
    pair = np.stack([np.zeros_like(values), values], axis=1)
    truth = TRUTHS[ask.kernel.op](pair)
    with np.errstate(all="ignore"):
        right = out.encode(truth.hi, truth.lo)
    codes = Operand.of(rows(pair), out.name).codes
    apart = kappa(codes, right, out)
    counts = {int(k) if np.isfinite(k) else k: int((apart == k).sum()) for k in np.unique(apart)}
    told = f"{len(values)} rows (0, x): " + ", ".join(f"kappa {k}: {n}" for k, n in list(counts.items())[:8])
    worst = max(counts)
    return Answer("P22", "kappa", worst if isinstance(worst, int) else "other infinities", told)


def _repeatable(rows: Callable[[Array], Array], x: Format, device: str) -> Answer:
    values = _batch(x, 18)
    return repeatable(lambda: rows(values), device)


def _word(got: Array) -> str:
    if np.isnan(got).all():
        return "NaN"
    return "zero" if not got.any() else "equal shares" if (got == got[0]).all() else "other"


def _batch(x: Format, seed: int) -> Array:
    return x.round(np.random.default_rng(seed).standard_normal(BATCH) * 4)
