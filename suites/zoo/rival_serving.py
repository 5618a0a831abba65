"""The data that attention's gradients, packed batches, paged caches and appends are tested with elsewhere."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from lastbit.kernel import Kernel
from lastbit.references.attention_packed_data import cumulative
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.references.kv_cache_data import integers
from lastbit.suites.zoo.rival_data import Array, Draw, Fill, Question, Rng, attend, question

#: Lengths of a packed batch, and of the sequences of a paged one.
LENGTHS = (64, 17, 1, 46)
#: Widest formats of a cache that has a scale.
SCALED_BITS = 8


def gradients(fill: Fill, b: int = 2, h: int = 2, l: int = 64, d: int = 32) -> Draw:
    """Causal self-attention with an upstream gradient: the result, dq, dk and dv."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        held = {name: Operand.of(fill(rng, (b, h, l, d)), formats[name]) for name in "qkv"}
        held["grad_out"] = Operand.of(fill(rng, (b, h, l, d)), formats["q"])
        q, k, v, out = (operand.values for operand in held.values())
        exact = _backward(q, k, v, out, lambda x: x)
        plain = _backward(q, k, v, out, lambda x: Operand.of(x, formats["out"]).values)
        names = {"out": "out", "dq": "q", "dk": "k", "dv": "v"}
        found = [
            question(held, one, np.abs(one), l, formats[of], rough, {"causal": True}, name=name)
            for (name, of), one, rough in zip(names.items(), exact, plain, strict=True)
        ]
        return _together(found)

    return draw


def packed(fill: Fill, h: int = 2, d: int = 32) -> Draw:
    """Causal self-attention of sequences of several lengths in one row of tokens."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        held = {name: Operand.of(fill(rng, (1, h, sum(LENGTHS), d)), formats[name]) for name in "qkv"}
        cuts = list(pairwise([0, *np.cumsum(LENGTHS).tolist()]))

        def whole(step: Callable[[Array], Array]) -> Array:
            parts = [[held[name].values[:, :, slice(*cut)] for name in "qkv"] for cut in cuts]
            return np.concatenate([attend(q, k, v, True, step) for q, k, v in parts], axis=2)

        exact, plain = whole(lambda x: x), whole(lambda x: Operand.of(x, formats["out"]).values)
        operands = {**held, **cumulative([(length, length) for length in LENGTHS])}
        return question(operands, exact, np.abs(exact), max(LENGTHS), formats["out"], plain, {"causal": True})

    return draw


def paged(fill: Fill, block: int = 16, hq: int = 4, hkv: int = 2, d: int = 32) -> Draw:
    """Decoding, one query a sequence, over pages in random order; 8-bit caches have one scale, its largest in range."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        pages = [-(-length // block) for length in LENGTHS]
        table = np.zeros((len(LENGTHS), max(pages)))
        order = rng.permutation(sum(pages) + 1)
        for row, (start, stop) in enumerate(pairwise([0, *np.cumsum(pages).tolist()])):
            table[row, : stop - start] = order[start:stop]
        held = {"q": Operand.of(fill(rng, (len(LENGTHS), hq, 1, d)), formats["q"])}
        for name in "kv":
            held |= _cache(name, fill(rng, (len(order), block, hkv, d)), formats[f"{name}_cache"])
        held |= {"block_table": integers(table.astype(np.int64)), "seq_lens": integers(np.array(LENGTHS))}

        def whole(step: Callable[[Array], Array]) -> Array:
            return np.stack([_decoded(held, row, hq // hkv, block, step) for row in range(len(LENGTHS))])

        exact, plain = whole(lambda x: x), whole(lambda x: Operand.of(x, formats["out"]).values)
        return question(held, exact, np.abs(exact), max(LENGTHS), formats["out"], plain)

    return draw


def append(fill: Fill, tokens: int = 42, block: int = 16, pages: int = 8, heads: int = 2, d: int = 32) -> Draw:
    """Tokens for random slots of a cache that is filled, too; 8-bit caches have one scale."""

    def draw(rng: Rng, kernel: Kernel) -> Question:
        formats = kernel.format_sets[0]
        slots = rng.permutation(pages * block)[:tokens]
        held, scales, after = {}, {}, []
        for name in "kv":
            held[name] = Operand.of(fill(rng, (tokens, heads, d)), formats[name])
            cached = _cache(name, fill(rng, (pages, block, heads, d)), formats[f"{name}_cache"])
            held[f"{name}_cache"] = cached[f"{name}_cache"]
            new, scale = held[name].values, cached.get(f"{name}_scale")
            if scale is not None:
                scales[f"{name}_scale"] = scale
                new = (new.astype(np.float32) / scale.values.astype(np.float32)).astype(np.float64)
            full = cached[f"{name}_cache"].values.copy().reshape(-1, heads, d)
            full[slots] = _saturated(new, formats[f"{name}_cache"]).values
            after.append(full.reshape(pages, block, heads, d))
        operands = {**held, "slots": integers(slots), **scales}
        return _together(
            [
                question(operands, one, np.abs(one), 1, formats[f"{name}_cache"], name=f"{name}_cache")
                for name, one in zip("kv", after, strict=True)
            ]
        )

    return draw


def _together(found: list[Question]) -> Question:
    first, *others = found
    return question(
        first.operands,
        first.exact,
        first.weight,
        first.terms,
        first.format,
        first.plain,
        first.options,
        name=first.name,
        others=tuple(others),
    )


def _backward(q: Array, k: Array, v: Array, out: Array, step: Callable[[Array], Array]) -> tuple[Array, ...]:
    """Result, dq, dk and dv of causal attention, each operation's result through `step`."""
    size = q.shape[-1] ** -0.5
    scores = np.where(np.tri(q.shape[-2], dtype=bool), step(step(q @ np.swapaxes(k, -1, -2)) * size), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = step(weights / weights.sum(-1, keepdims=True))
    result = step(weights @ v)
    gained = step(out @ np.swapaxes(v, -1, -2))
    inner = step(weights * (gained - (out * result).sum(-1, keepdims=True)))
    d_v = step(np.swapaxes(weights, -1, -2) @ out)
    return result, step(step(inner @ k) * size), step(step(np.swapaxes(inner, -1, -2) @ q) * size), d_v


def _cache(name: str, x: Array, format: str) -> dict[str, Operand]:
    """The cache of these numbers, with a scale of the whole where the format has 8 bits."""
    if Format.of(format).bits > SCALED_BITS:
        return {f"{name}_cache": Operand.of(x, format)}
    scale = Operand.of(np.abs(x).max(keepdims=True).reshape(1) / Format.of(format).max, "f32")
    return {f"{name}_cache": _saturated(x / scale.values, format), f"{name}_scale": scale}


def _saturated(x: Array, format: str) -> Operand:
    return Operand.of(np.clip(x, -Format.of(format).max, Format.of(format).max), format)


def _decoded(held: Mapping[str, Operand], row: int, shared: int, block: int, step: Callable[[Array], Array]) -> Array:
    """The sequence's result, (hq, 1, d)."""
    tokens = np.arange(int(held["seq_lens"].values[row]))
    flat = held["block_table"].values[row].astype(int)[tokens // block] * block + tokens % block
    k, v = (
        np.repeat(_worth(held, name).reshape(-1, *_worth(held, name).shape[2:])[flat].swapaxes(0, 1), shared, axis=0)
        for name in "kv"
    )
    return attend(held["q"].values[row], k, v, False, step)


def _worth(held: Mapping[str, Operand], name: str) -> Array:
    scale = held.get(f"{name}_scale")
    cache = held[f"{name}_cache"].values
    return cache if scale is None else cache * scale.values
