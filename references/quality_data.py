"""Tensors to compare number formats on: Gaussian, heavy-tailed, with outlier channels, activations, keys and values."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Family:
    """A way to draw a matrix (rows, columns): its name, what it stands for, and the function that draws it."""

    name: str
    why: str
    draw: Callable[[np.random.Generator, int, int], Array]


def matrix(family: str, rows: int, columns: int, seed: int) -> Array:
    """A matrix of the family, rounded to bf16, the format that models are kept in.

    The same arguments give the same bits on every machine whose numpy is the same (PCG64).
    Raises KeyError for a family that FAMILIES does not list.
    """
    return Format.of("bf16").round(FAMILIES[family].draw(np.random.default_rng(seed), rows, columns))


def gaussian(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """N(0, 1)."""
    return rng.standard_normal((rows, columns))


def student_t(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Student's t with 4 degrees of freedom: the tails of trained weights."""
    return rng.standard_t(4, (rows, columns))


def outlier_channels(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """N(0, 1) with about one column in 128 sixty times as large.

    Source: Dettmers et al., LLM.int8() (2022), section 4: outliers up to 60 in fewer than 1 % of the features.
    """
    channels = np.where(rng.permutation(columns) < max(1, columns // 128), 60.0, 1.0)
    return rng.standard_normal((rows, columns)) * channels


def activations(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Log-normal columns, tokens of different size, and one token in 64 with a massive number in two fixed columns.

    Source: Sun et al., Massive Activations in Large Language Models (2024).
    """
    x = rng.standard_normal((rows, columns)) * np.exp(0.8 * rng.standard_normal(columns))
    x *= np.exp(0.3 * rng.standard_normal((rows, 1)))
    for column in (columns // 3, columns - 2):
        x[::64, column] = 300.0 * (1 + 0.1 * rng.standard_normal(x[::64].shape[0]))
    return x


def keys(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A key cache: columns with their own offset and size, in pairs that turn with the position (rotary embedding).

    Source: Liu et al., KIVI (2024), section 3: key caches have outlier channels, value caches do not.
    """
    half = columns // 2
    size = np.exp(0.7 * rng.standard_normal(half))
    offset = np.where(rng.random(half) < 0.1, 8.0, 0.0) * rng.choice([-1.0, 1.0], half)
    pair = rng.standard_normal((2, rows, half)) * size + offset
    angle = np.arange(rows)[:, None] * 10000.0 ** (-np.arange(half) / max(half, 1))
    cosine, sine = np.cos(angle), np.sin(angle)
    x = np.zeros((rows, columns))
    x[:, :half] = pair[0] * cosine - pair[1] * sine
    x[:, half : 2 * half] = pair[0] * sine + pair[1] * cosine
    return x


def values(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A value cache: tokens of different size, no outlier channels."""
    return rng.standard_normal((rows, columns)) * np.exp(0.4 * rng.standard_normal((rows, 1)))


#: Every family by name.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("gaussian", "N(0, 1)", gaussian),
        Family("student_t", "heavy tails: weights", student_t),
        Family("outlier_channels", "few columns 60 times as large", outlier_channels),
        Family("activations", "log-normal columns, massive numbers", activations),
        Family("keys", "offset columns that turn with the position", keys),
        Family("values", "rows of different size", values),
    )
}
