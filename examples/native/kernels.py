"""The functions of libexamples.so as kernels: `lastbit verify examples/native/kernels.py` judges them.

Build the library first: g++ -O2 -shared -fPIC -ffp-contract=off -o libexamples.so gemm.cpp softmax.cpp quantize.cpp
"""

from ctypes import POINTER, c_float, c_int, c_int8, c_int64
from pathlib import Path

import lastbit
from lastbit.native import Leading, Rows, Size

LIBRARY = Path(__file__).with_name("libexamples.so")
F32 = {"a": "f32", "b": "f32", "out": "f32"}
FLOATS = POINTER(c_float)
#: `void sgemm_rows(int m, int n, int k, float alpha, const float *a, int lda, ...)`, as an existing library has it.
SGEMM = (
    (c_int, Size("a", -2)),
    (c_int, Size("b", -1)),
    (c_int, Size("a", -1)),
    (c_float, 1.0),
    (FLOATS, "a"),
    (c_int, Leading("a")),
    (FLOATS, "b"),
    (c_int, Leading("b")),
    (FLOATS, "out"),
    (c_int, Leading("out")),
)
ROWS = ((FLOATS, "x"), (FLOATS, "out"), (c_int64, Rows("x")), (c_int64, Size("x", -1)))
CODES = (
    (FLOATS, "x"),
    (POINTER(c_int8), "codes"),
    (FLOATS, "scale"),
    (c_int64, Rows("x")),
    (c_int64, Size("x", -1)),
)
#: Rows without a number have no softmax here: exp(-inf - -inf) is NaN.
SOFTMAX = lastbit.Contract(masked_row="nan", source="examples/native/softmax.cpp")


def _softmax(symbol: str) -> lastbit.Kernel:
    formats = {"x": "f32", "out": "f32"}
    return lastbit.native(LIBRARY, symbol, ROWS, op="softmax", formats=formats, features={"batch"}, contract=SOFTMAX)


def _quantizer(symbol: str) -> lastbit.Kernel:
    features = {"batch", "tails"}
    return lastbit.native(
        LIBRARY, symbol, CODES, op="quantize", formats={"x": "f32"}, scaling="i8_row", features=features
    )


#: Plain loops: a tenth of a second's worth of products, so that the larger cases of higher tiers are left out.
LIMIT = 2**26

KERNELS = [
    lastbit.native(LIBRARY, "gemm_f32", op="gemm", formats=F32, limit=LIMIT),
    lastbit.native(LIBRARY, "gemm_bf16", op="gemm", formats={"a": "bf16", "b": "bf16", "out": "f32"}, limit=LIMIT),
    lastbit.native(LIBRARY, "gemm_tail", op="gemm", formats=F32, limit=LIMIT),
    lastbit.native(LIBRARY, "sgemm_rows", SGEMM, op="gemm", formats=F32, returns=None, limit=LIMIT),
    _softmax("softmax_rows"),
    _softmax("softmax_raw"),
    _quantizer("quantize_i8"),
    _quantizer("quantize_i8_truncated"),
]
