"""Cost, what an op has to do and to move, counted from its definition, the sizes and the formats; never measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from lastbit.perf.cost_attention import Attended, Spans, attended, spans
from lastbit.results import results
from lastbit.scaled_operands import product_scalings, scaling_of, unpacked_shape

if TYPE_CHECKING:
    from lastbit.case import Trial
    from lastbit.kernel import Kernel
    from lastbit.perf.evidence import Call


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations and bytes of one call: the least that the op's definition allows, whatever a kernel does.

    An operation is an addition, multiplication, division, comparison, rounding, exponential, logarithm or hyperbolic
    tangent; a reduction of n numbers counts n. A byte of an operand that is needed is read once, one of a result is
    written once, in the form in which the kernel is given it: packed codes as bytes, scales and tables too.
    """

    operations: int
    bytes_read: int
    bytes_written: int
    #: Of the operations, those of matrix products (a multiplication and an addition a term): matrix engines do them.
    matrix: int = 0

    @property
    def bytes(self) -> int:
        """Bytes moved, both ways."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.bytes if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """An array as a kernel is given it, or returns it."""

    shape: tuple[int, ...]
    #: Of one element of the array: "u8" where two codes of 4 bits share a byte.
    format: str

    @property
    def count(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.count * stored_bytes(self.format)


@dataclass(frozen=True, slots=True)
class Given:
    """What a kernel is called with, as far as the cost depends on it."""

    operands: Mapping[str, Stored]
    #: Values of the integer operands that sizes hang on: seq_lens, slots, cu_seqlens_q, cu_seqlens_k.
    integers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    #: The call's keywords, and the contract's causal_alignment.
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, formats: Mapping[str, str]) -> "Given":
        """The same call with operands of other formats; those not named stay."""
        changed = {name: Stored(one.shape, formats.get(name, one.format)) for name, one in self.operands.items()}
        return Given(changed, self.integers, self.options)


def stored_bytes(fmt: str) -> int:
    """Bytes of one element of an array of `fmt`: tf32 takes four, a code of less than 8 bits a whole byte."""
    from lastbit.references.formats import Format

    return 1 if fmt == "bool" else int(Format.of(fmt).code_dtype.itemsize)


def given(trial: "Trial", call: "Call") -> Given:
    """What `call`, made by the trial's law, hands the kernel."""
    operands = {name: Stored(one.codes.shape, one.format) for name, one in call.operands.items()}
    lists = ("seq_lens", "slots", "cu_seqlens_q", "cu_seqlens_k")
    integers = {name: tuple(int(value) for value in call.operands[name].values) for name in lists if name in operands}
    options = {**call.scalars, "causal_alignment": trial.contract.causal_alignment}
    return Given(operands, integers, options)


def cost(kernel: "Kernel", formats: Mapping[str, str], call: Given) -> Cost:
    """The cost of one call of `kernel`, whose results have `formats`.

    Raises KeyError where the call lacks an operand of the op.
    """
    returned = [
        Stored(one.shape, one.format)
        for one in results(kernel, formats, {name: one.shape for name, one in call.operands.items()})
    ]
    read = sum(one.nbytes for one in call.operands.values())
    written = sum(one.nbytes for one in returned)
    return COSTS[kernel.op](kernel, call, returned, read, written)


_Count = Callable[["Kernel", Given, list[Stored], int, int], Cost]


def _gemm(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """2mnk, and m n for each of: times alpha, times beta, plus c, plus bias."""
    count = out[0].count
    matrix = 2 * count * call.operands["a"].shape[-1]
    extra = sum(name in call.operands for name in ("c", "bias")) + sum(
        name in call.options for name in ("alpha", "beta")
    )
    return Cost(matrix + count * extra, read, written, matrix)


def _scaled_gemm(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """2mnk; m n for each scale of a partial sum, for a global scale and a bias; a subtraction for each zero point."""
    scalings = product_scalings(kernel)
    (m, n), k = out[0].shape, call.operands["a"].shape[-1]
    if scalings[0] is not None:
        k = unpacked_shape(scalings[0], call.operands["a"].shape)[-1]
    matrix = 2 * m * n * k
    extra = m * n * sum(name in call.operands for name in ("global_scale", "bias"))
    for name, rows, scaling in zip("ab", (m, n), scalings, strict=True):
        if f"scale_{name}" in call.operands and scaling is not None:
            along = {"group": scaling.group, "block": scaling.block[1]}.get(scaling.granularity, k)
            extra += m * n * -(-k // max(along, 1))
        if f"zero_{name}" in call.operands:
            extra += rows * k
    return Cost(matrix + extra, read, written, matrix)


def _rows(per_element: int, per_row: int) -> _Count:
    def count(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
        x = call.operands["x"]
        return Cost(per_element * x.count + per_row * prod(x.shape[:-1]), read, written)

    return count


def _attention(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """Of each query and key that it attends to: 2d and 2dv of the products, 6 of scale and softmax, and options."""
    q, k, v = (call.operands[name] for name in "qkv")
    heads, lq, d = q.shape[1:]
    dv, hkv = v.shape[3], k.shape[1]
    if "cu_seqlens_q" in call.integers:
        ends = [call.integers[f"cu_seqlens_{name}"] for name in "qk"]
        lengths = [(b - a, d_ - c) for a, b, c, d_ in zip(ends[0], ends[0][1:], ends[1], ends[1][1:], strict=False)]
    else:
        lengths = [(lq, k.shape[2])] * q.shape[0]
    found = [_spans(call, *length) for length in lengths]
    unread = sum(keys - one.keys for (_, keys), one in zip(lengths, found, strict=True)) * hkv
    unread_bytes = unread * (d * stored_bytes(k.format) + dv * stored_bytes(v.format))
    rows = sum(length[0] for length in lengths) * heads
    done = attended(
        sum(one.pairs for one in found) * heads,
        rows,
        d,
        dv,
        addends=sum(name in call.operands and call.operands[name].format != "bool" for name in ("mask", "bias")),
        softcap=bool(call.options.get("softcap")),
        sinks="sinks" in call.operands,
        lse="lse" in kernel.features,
        gradients="grad_out" in call.operands,
    )
    return _total(done, read - unread_bytes, written)


def _total(done: Attended, read: int, written: int, further: int = 0) -> Cost:
    return Cost(done.matrix + done.other + further, read, written, done.matrix)


def _spans(call: Given, queries: int, keys: int) -> Spans:
    bottom = call.options.get("causal_alignment", "bottom-right") == "bottom-right"
    return spans(
        queries,
        keys,
        causal=bool(call.options.get("causal")),
        window=call.options.get("window"),
        shift=keys - queries if bottom else 0,
    )


def _paged(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """As attention over each sequence's own tokens; a multiplication for each number of a cache that has scales.

    Of the caches the tokens attended to are read, of the table the pages that these lie in.
    """
    q, k, v, table = (call.operands[name] for name in ("q", "k_cache", "v_cache", "block_table"))
    heads, lq, d = q.shape[1:]
    block, hkv, dv = k.shape[1], k.shape[2], v.shape[3]
    found = [
        spans(lq, tokens, causal=bool(call.options.get("causal")), window=call.options.get("window"), shift=tokens - lq)
        for tokens in call.integers["seq_lens"]
    ]
    tokens = sum(one.keys for one in found) * hkv
    pages = sum(one.pages(block) for one in found)
    unread = k.nbytes + v.nbytes + table.nbytes
    needed = tokens * (d * stored_bytes(k.format) + dv * stored_bytes(v.format)) + pages * stored_bytes(table.format)
    counts = attended(sum(one.pairs for one in found) * heads, q.shape[0] * lq * heads, d, dv)
    scaled = tokens * sum(size for name, size in (("k", d), ("v", dv)) if f"{name}_scale" in call.operands)
    return _total(counts, read - unread + needed, written, scaled)


def _append(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """A rounding and, with scales, a division of each number that a slot takes; the rest of a cache is copied, unless
    the kernel works in place."""
    slots = [slot for slot in call.integers["slots"] if slot >= 0]
    kept = len(set(slots))
    operations = taken = put = rest = 0
    for name in "kv":
        token, cache = call.operands[name], call.operands[f"{name}_cache"]
        size = prod(token.shape[1:])
        scaled = f"{name}_scale" in call.operands
        operations += kept * size * (scaled + (scaled or token.format != cache.format))
        taken += token.nbytes - kept * size * stored_bytes(token.format)  # padding, and tokens written over
        put += kept * size * stored_bytes(cache.format)
        rest += cache.nbytes
    if "inplace" in kernel.features:
        return Cost(operations, read - taken - rest, put)
    return Cost(operations, read - taken - put, written)


def _quantize(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """By number: quotient and rounding, 1 with a zero point, and 2 to find the extent that a scale is of (magnitude and
    maximum, or minimum and maximum). By scale: a division and a rounding.

    "four_over_six" rounds to two scales and compares squared errors: four more operations for each of the two.
    """
    scaling, x = scaling_of(kernel), call.operands["x"]
    each = 2 + (scaling.zero_point is not None) + (0 if scaling.rule == "given" else 2)
    if scaling.rule == "four_over_six":
        each += 2 + 8
    scales = sum(one.count for one in out[1:])
    return Cost(each * x.count + 2 * scales, read, written)


def _dequantize(kernel: "Kernel", call: Given, out: list[Stored], read: int, written: int) -> Cost:
    """By number: a rounding, 1 with a scale, 1 with a zero point; by scale 1 with a global scale."""
    each = 1 + ("scale" in call.operands) + ("zero_point" in call.operands)
    scales = call.operands["scale"].count if "global_scale" in call.operands else 0
    return Cost(each * out[0].count + scales, read, written)


#: Counter by op. Softmax, by element: maximum, difference, exponential, sum, quotient.
COSTS: dict[str, _Count] = {
    "gemm": _gemm,
    "scaled_gemm": _scaled_gemm,
    "softmax": _rows(5, 0),
    "log_softmax": _rows(5, 1),
    "logsumexp": _rows(4, 2),
    "attention": _attention,
    "paged_attention": _paged,
    "kv_append": _append,
    "quantize": _quantize,
    "dequantize": _dequantize,
    "cast": _rows(1, 0),
}
