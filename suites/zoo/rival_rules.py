"""The rules by which others compare a kernel's result with what they expect, as published."""

import numpy as np
from numpy.typing import NDArray

from lastbit.references.formats import Format
from lastbit.suites.zoo.rival_data import Question

Array = NDArray[np.float64]
#: torch.testing.assert_close: (rtol, atol) of each type, 0 and 0 of the others.
CLOSE = {"f16": (1e-3, 1e-5), "bf16": (1.6e-2, 1e-5), "f32": (1.3e-6, 1e-5), "f64": (1e-7, 1e-7)}
#: hipBLASLt's limits of the relative Frobenius norm.
NORMS = {"f32": 1e-5, "f16": 1e-2, "bf16": 1e-1, "e4m3fn": 0.125, "e5m2": 0.25}


def close(obtained: Array, expected: Array, rtol: float, atol: float) -> bool:
    """allclose, NaN equal to nothing."""
    with np.errstate(invalid="ignore"):
        same = (obtained == expected) | (np.abs(obtained - expected) <= atol + rtol * np.abs(expected))
    return bool(same.all())


def assert_close(obtained: Array, question: Question) -> bool:
    """torch.testing.assert_close with its defaults."""
    return close(obtained, question.expected, *CLOSE.get(question.format, (0.0, 0.0)))


def hundredth(obtained: Array, question: Question) -> bool:
    """allclose with 1e-2 and 1e-2."""
    return close(obtained, question.expected, 1e-2, 1e-2)


def kernelbench(obtained: Array, question: Question) -> bool:
    """allclose with 1e-4 and 1e-4 for fp32, 1e-2 and 1e-2 for fp16 and bf16."""
    size = 1e-4 if question.format in ("f32", "f64") else 1e-2
    return close(obtained, question.expected, size, size)


def twice_plain(obtained: Array, question: Question) -> bool:
    """max|out - ref| <= 2 max|plain - ref| + 1e-5, of gradients 3 in place of 2."""
    allowed = (2 if question.name == "out" else 3) * np.abs(question.plain - question.expected).max(initial=0.0) + 1e-5
    return bool(np.abs(obtained - question.expected).max(initial=0.0) <= allowed)


def cosine(obtained: Array, question: Question) -> bool:
    """The cosine between result and expectation is at least 0.99."""
    x, y = obtained.reshape(-1), question.expected.reshape(-1)
    with np.errstate(all="ignore"):
        return bool(x @ y / np.sqrt((x @ x) * (y @ y)) >= 0.99)


def nmse(obtained: Array, question: Question) -> bool:
    """sum (out - ref)^2 / sum ref^2 <= 5e-4 for products and attention, 1e-6 for softmax, 1e-7 for casts; no NaN."""
    if not np.isfinite(obtained).all():
        return False
    limit = 5e-4 if "x" not in question.operands else 1e-7 if question.terms == 1 else 1e-6
    return bool(np.square(obtained - question.expected).sum() <= limit * np.square(question.expected).sum())


def dot_product(obtained: Array, question: Question) -> bool:
    """TOSA: the error of each element and their sum of squares, in units of |A||B| and the output's last bit."""
    fraction = {"f16": 10, "bf16": 7, "f32": 23}[question.format]
    terms = np.ceil(question.terms / 2 ** ((23 - fraction) / 2))
    unit = np.maximum(question.weight * 2.0 ** (-1 - fraction), Format.of(question.format).min_normal)
    bound = (3 if question.format == "f32" else 1) * 2 * terms
    with np.errstate(all="ignore"):
        error = np.where(question.weight == 0, np.where(obtained == question.exact, 0, np.inf), 0)
        error = np.where(question.weight == 0, error, (obtained - question.exact) / unit)
        # Elements that may overflow are not looked at.
        seen = question.weight * (1 + bound * 2.0 ** (-1 - fraction)) <= Format.of(question.format).max
        error = np.where(seen, error, 0)
        return bool((np.abs(error) <= bound).all() and np.square(error).sum() <= 1.6 * terms * error.size)


def equal(obtained: Array, question: Question) -> bool:
    """Every element is the expected one."""
    return bool((obtained == question.expected).all())


def relatively_equal(obtained: Array, question: Question) -> bool:
    """|a - b| < 0.05 (|a| + |b|), or equal."""
    with np.errstate(invalid="ignore"):
        near = np.abs(obtained - question.expected) < 0.05 * (np.abs(obtained) + np.abs(question.expected))
    return bool((near | (obtained == question.expected)).all())


def norm(obtained: Array, question: Question) -> bool:
    """||out - ref|| <= limit * ||ref||, Frobenius; integers are compared exactly."""
    if question.format not in NORMS:
        return equal(obtained, question)
    with np.errstate(invalid="ignore"):
        far = np.linalg.norm(obtained - question.expected)
    return bool(far <= NORMS[question.format] * np.linalg.norm(question.expected))


def mismatches(obtained: Array, question: Question) -> bool:
    """At most 1e-7 of the elements are further off than 1e-2 + 1e-2 |ref|; a NaN is not further off than anything.

    5e-2 with a cache of 8 bits.
    """
    size = 5e-2 if _narrow_cache(question) else 1e-2
    with np.errstate(invalid="ignore"):
        bad = np.abs(obtained - question.expected) > size + size * np.abs(question.expected)
    return int(bad.sum()) <= int(1e-7 * bad.size)


def onnx(obtained: Array, question: Question) -> bool:
    """allclose with rtol 1e-3 and atol 1e-7."""
    return close(obtained, question.expected, 1e-3, 1e-7)


def vllm(obtained: Array, question: Question) -> bool:
    """allclose: attention atol 1e-3 (1e-2 with a cache of 8 bits) and rtol 1e-5; caches atol 1e-3 and rtol 0.1 of 8
    bits, else assert_close's defaults."""
    narrow = _narrow_cache(question)
    if question.name == "out":
        return close(obtained, question.expected, 1e-5, 1e-2 if narrow else 1e-3)
    return close(obtained, question.expected, 0.1, 1e-3) if narrow else assert_close(obtained, question)


#: torchao's floors of the signal-to-noise ratio by element, dB: the lowest of its tests.
FLOORS = {"e4m3fn": 18.0, "e5m2": 18.0, "e2m1fn": 12.0}
#: Its floor of products against the dequantized operands.
PRODUCT_FLOOR = 80.0


def sqnr(obtained: Array, question: Question) -> bool:
    """20 log10(||ref|| / ||out - ref||) is at least the floor."""
    with np.errstate(all="ignore"):
        noise = np.linalg.norm(obtained - question.expected)
        ratio = 20 * np.log10(np.linalg.norm(question.expected) / noise)
    return bool(noise == 0 or ratio >= FLOORS.get(question.format, PRODUCT_FLOOR))


def _narrow_cache(question: Question) -> bool:
    cache = question.operands.get("k_cache")
    return cache is not None and Format.of(cache.format).bits <= 8
