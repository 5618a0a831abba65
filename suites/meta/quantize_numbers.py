"""Numbers to quantize, by kind."""

from typing import Any

import numpy as np

from lastbit.references.formats import Format
from lastbit.references.scaling import Scaling

#: Scalings with a rule for scales.
RULED = [name for name in Scaling.names() if Scaling.of(name).rule != "given"]
KINDS = ("normal", "ties", "wide", "tiny", "bits", "zeros")


def numbers(kind: str, shape: tuple[int, int], fmt: str, seed: int) -> Any:
    """Numbers of the format: ordinary, at ties, over many binades, subnormal, of random bits, zeros of both signs."""
    rng = np.random.default_rng(seed)
    f = Format.of(fmt)
    if kind == "bits":
        values = f.decode(rng.integers(0, 1 << f.bits, shape).astype(f.code_dtype))
        values = np.where(np.isfinite(values), values, 1.0)
        return np.clip(values, -f.max / 4, f.max / 4)
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = rng.integers(-600, 601, shape) / 32 * 2.0 ** rng.integers(-3, 4)
        x[:, ::7] = rng.choice([6.0, 448.0, 127.0, 7.0, 127.5, 7.5], x[:, ::7].shape)
    elif kind == "wide":
        x = x * 2.0 ** rng.integers(-12, 12, shape)
    elif kind == "tiny":
        x = x * f.min_normal * 2.0 ** rng.integers(-6, 6, (shape[0], 1))
    elif kind == "zeros":
        x = rng.choice([0.0, -0.0, 0.0, 1.0, -3.0], shape)
        x[0] = np.copysign(0.0, x[0])
    return f.round(x, overflow="saturate")
