"""A real library through its own argument order: the OpenBLAS that NumPy's wheels bring, described as data."""

from ctypes import POINTER, c_double, c_float, c_int, c_int64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lastbit
from lastbit.kernel import Kernel
from lastbit.native import Leading, Scalar, Size
from lastbit.verdict import Outcome

#: CBLAS_LAYOUT and CBLAS_TRANSPOSE of cblas.h.
ROW_MAJOR, COLUMN_MAJOR, NOT_TRANSPOSED, TRANSPOSED = 101, 102, 111, 112


def openblas() -> Path:
    """The library; skips where this NumPy brings none."""
    found = sorted(Path(np.__file__).parent.with_name("numpy.libs").glob("libscipy_openblas64_*.so"))
    if not found:
        pytest.skip(f"NumPy {np.__version__} brings no OpenBLAS with 64-bit indices here")
    return found[0]


def gemm(symbol: str, real: Any, format: str, order: int = ROW_MAJOR, second: int = NOT_TRANSPOSED) -> Kernel:
    """`cblas_?gemm(order, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)` with beta = 0."""
    array = POINTER(real)
    signature = (
        *((c_int, order), (c_int, NOT_TRANSPOSED), (c_int, second)),
        *((c_int64, Size("a", -2)), (c_int64, Size("b", -1)), (c_int64, Size("a", -1))),
        *((real, Scalar("alpha", 1.0)), (array, "a"), (c_int64, Leading("a")), (array, "b"), (c_int64, Leading("b"))),
        *((real, 0.0), (array, "out"), (c_int64, Leading("out"))),
    )
    formats = {"a": format, "b": format, "out": format}
    name = f"openblas/{symbol}-{order}-{second}"
    return lastbit.native(
        openblas(), symbol, signature, op="gemm", formats=formats, name=name, returns=None, features={"alpha"}
    )


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("symbol", "real", "format"), [("scipy_cblas_sgemm64_", c_float, "f32"), ("scipy_cblas_dgemm64_", c_double, "f64")]
)
def test_openblas_conforms(symbol: str, real: Any, format: str, isolate: bool) -> None:
    report = lastbit.verify(gemm(symbol, real, format), tier="smoke", isolate=isolate)
    assert report.passed, str(report)
    assert sum(record.outcome is Outcome.PASS for record in report.records) > 40


@pytest.mark.parametrize(("order", "second"), [(COLUMN_MAJOR, NOT_TRANSPOSED), (ROW_MAJOR, TRANSPOSED)])
def test_openblas_described_wrongly_is_caught(order: int, second: int) -> None:
    """The classic mistakes: the wrong order, and a transpose too many; in isolation, for it may read anywhere."""
    kernel = gemm("scipy_cblas_sgemm64_", c_float, "f32", order, second)
    report = lastbit.verify(replace(kernel, limit=2**20), tier="smoke", isolate=True)
    assert not report.passed
    assert {Outcome.WRONG_STRUCTURE, Outcome.OVER_BUDGET} & {finding.outcome for finding in report.findings}
