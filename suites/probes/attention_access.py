"""Attention, how a probe puts questions to an attention kernel: logits, values and what comes of them."""

from dataclasses import dataclass

import numpy as np

from lastbit.references.formats import Format
from lastbit.suites.probes.op_access import Array, Ask, exact

#: Width of queries, keys and values: its root is a power of two, so that the default scale is one too.
WIDTH = 64
#: Keys of a probe's longest rows.
KEYS = 256


@dataclass(frozen=True, slots=True)
class Attention:
    """An attention kernel that is asked by logits: those of a query are exactly its number times each key's."""

    ask: Ask

    @property
    def fmt(self) -> Format:
        """Format of the queries, keys and values."""
        return Format.of(self.ask.formats["q"])

    @property
    def out(self) -> Format:
        """Format of the result."""
        return Format.of(self.ask.formats["out"])

    def __call__(self, queries: Array, keys: Array, values: Array, **scalars: object) -> Array:
        """The result (lq, WIDTH) of logits queries (lq,) * keys (lk,), and values (lk, WIDTH)."""
        q, k = np.zeros((1, 1, len(queries), WIDTH)), np.zeros((1, 1, len(keys), WIDTH))
        q[..., 0], k[..., 0] = queries * np.sqrt(WIDTH), keys
        result: Array = self.of(q, k, values[None, None], **scalars)[0, 0]
        return result

    def of(self, q: Array, k: Array, v: Array, **scalars: object) -> Array:
        """The result of whole operands, (b, h, l, WIDTH) each."""
        names = dict(zip("qkv", (q, k, v), strict=True))
        self.ask.spent.sums += q.size // WIDTH
        given = {name: exact(array, self.ask.formats[name]) for name, array in names.items()}
        return self.out.decode(self.ask(given, dict(scalars)).codes)


def random_operands(kernel: Attention, lq: int, lk: int, batch: int = 1) -> tuple[Array, Array, Array]:
    """q, k and v of two heads, normally distributed."""
    rng = np.random.default_rng(28)
    q, k, v = (
        Format.of(kernel.ask.formats[name]).round(rng.standard_normal((batch, 2, size, WIDTH)))
        for name, size in (("q", lq), ("k", lk), ("v", lk))
    )
    return q, k, v
