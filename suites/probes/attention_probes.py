"""P25: an attention's masks, equal logits and order of keys, and whether bits depend on the batch."""

import numpy as np
from numpy.typing import NDArray

from lastbit.references.data import Operand
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.attention_access import WIDTH, Attention, random_operands
from lastbit.suites.probes.op_access import Array, Ask, exact
from lastbit.suites.probes.repeat_probe import repeatable
from lastbit.suites.probes.weight_probes import probabilities, running_maximum, sink, smallest_weight

#: Rows that are asked for alone.
PARTS = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33)


def attention_answers(ask: Ask) -> list[Answer]:
    """Every probe of an attention.

    Raises AccessError where the kernel gives no result.
    """
    kernel = Attention(ask)
    least = smallest_weight(kernel)
    return [
        probabilities(kernel, least.value),
        least,
        sink(kernel),
        running_maximum(kernel),
        equal_maxima(kernel),
        masked_row(kernel),
        masked_keys(kernel),
        key_order(kernel),
        *invariance(kernel),
        _repeatable(kernel),
    ]


def equal_maxima(kernel: Attention) -> Answer:
    """Whether 2, 4, .. 256 keys of one logit have exactly equal shares."""
    wrong = []
    for count in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        got = kernel(np.array([1.0]), np.full(count, 1.0), np.ones((count, WIDTH)))
        wrong += [f"{count} give {float(got[0, 0])!r}"] if (got != 1).any() else []
    told = "1, 2, 4, .. 256 equal logits, all values 1" + (f": {wrong[0]}" if wrong else "")
    return Answer("P25", "equal_maxima", "exact" if not wrong else "not exact", told)


def masked_row(kernel: Attention) -> Answer:
    """What a query gives that sees no key."""
    name = "masked_row"
    if "mask" not in kernel.ask.kernel.features:
        return undecided("P25", name, "the kernel takes no mask")
    seen = np.ones((1, 1, 4, 8), bool)
    seen[0, 0, 1] = False
    got = _masked(kernel, seen, np.arange(8.0)[:, None] + np.ones((8, WIDTH)))[1]
    kind = "NaN" if np.isnan(got).all() else "zero" if not got.any() else "mean" if (got == 4.5).all() else "other"
    return Answer("P25", name, kind, f"a query without a key gives {got[0]:g}")


def masked_keys(kernel: Attention) -> Answer:
    """Whether NaN in the value of a key that nobody sees comes through."""
    name = "masked_keys"
    if "mask" not in kernel.ask.kernel.features:
        return undecided("P25", name, "the kernel takes no mask")
    seen = np.ones((1, 1, 4, 8), bool)
    seen[..., 5] = False
    values = np.ones((8, WIDTH))
    values[5] = np.nan
    got = _masked(kernel, seen, values)
    value = "computed" if np.isnan(got).any() else "ignored"
    return Answer("P25", name, value, f"NaN in a masked key's value: {int(np.isnan(got).sum())} of {got.size} are NaN")


def key_order(kernel: Attention) -> Answer:
    """Whether the bits stay when keys and values are reversed."""
    q, k, v = random_operands(kernel, 64, 192)
    same = np.array_equal(kernel.of(q, k, v), kernel.of(q, k[:, :, ::-1].copy(), v[:, :, ::-1].copy()))
    return Answer("P25", "key_order", "holds" if same else "changes bits", "192 random keys and values, reversed")


def invariance(kernel: Attention) -> list[Answer]:
    """P19: whether a query's bits depend on how many queries, and how many members of the batch, there are."""
    q, k, v = random_operands(kernel, 64, 192, 4)
    full = kernel.of(q, k, v)
    queries = _breaking(kernel, q, k, v, full)
    batch = not all(
        np.array_equal(kernel.of(q[i : i + 1], k[i : i + 1], v[i : i + 1])[0], full[i], equal_nan=True)
        for i in range(len(q))
    )
    return [
        Answer("P19", "query_invariance", *queries),
        Answer("P19", "batch_invariance", "breaks" if batch else "holds", "each member of a batch of 4 alone"),
    ]


def _repeatable(kernel: Attention) -> Answer:
    given = random_operands(kernel, 64, 192)
    return repeatable(lambda: kernel.of(*given), kernel.ask.device)


def _breaking(kernel: Attention, q: Array, k: Array, v: Array, full: Array) -> tuple[str, str]:
    breaking, refused = [], []
    for part in PARTS:
        try:
            same = np.array_equal(kernel.of(q[:, :, :part], k, v), full[:, :, :part], equal_nan=True)
        except AccessError:
            refused.append(part)
            continue
        breaking += [] if same else [part]
    told = f"lq = {', '.join(map(str, PARTS))} of {q.shape[2]}"
    told += f"; refused: {', '.join(map(str, refused))}" if refused else ""
    return f"breaks at lq = {', '.join(map(str, breaking))}" if breaking else "holds", told


def _masked(kernel: Attention, seen: NDArray[np.bool_], values: Array) -> Array:
    """The result (lq, WIDTH) of equal logits under a mask, True where a key is seen."""
    lq, lk = seen.shape[-2:]
    given = {
        "q": exact(np.ones((1, 1, lq, WIDTH)), kernel.ask.formats["q"]),
        "k": exact(np.ones((1, 1, lk, WIDTH)), kernel.ask.formats["k"]),
        "v": exact(values[None, None], kernel.ask.formats["v"]),
        "mask": Operand("bool", seen.astype(np.uint8), seen.astype(np.float64)),
    }
    result: Array = kernel.out.decode(kernel.ask(given).codes)[0, 0]
    return result
