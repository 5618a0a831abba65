"""Loops of our own that Numba compiles for the CPU: matrix products and the softmax family, on NumPy arrays."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

FILE = "plugins/lastbit/providers/numba.py"
TIPS = "numba.readthedocs.io/en/stable/user/performance-tips.html"
#: Numba keeps IEEE 754 unless fastmath asks for less; each sum is in the operands' format.
LOOP = Contract(
    source=f"{FILE}, _products: a sum in the operands' format; {TIPS}: Fastmath, strict IEEE 754 by default"
)
#: The flags that let LLVM reorder and fuse a sum, which any-order bounds cover; NaN and infinities are kept.
REORDERED = Contract(source=f"{TIPS}: Fastmath, a set of LLVM's flags: reassoc, contract")
DOT = Contract(source="numba.readthedocs.io/en/stable/reference/numpysupported.html: numpy.dot, by SciPy's BLAS")
#: Numba states no error of math.exp and math.log, which are the platform's; with SVML, one ulp.
ROWS = Contract(
    exp_ulp=1.0,
    masked_row="nan",
    source=f"{FILE}, _softmax; {TIPS}: Intel SVML, 1 ulp; sourceware.org/glibc/manual: Known Maximum Errors, 1 ulp",
)
FORMATS = ("f64", "f32")
FLAGS = {"gemm-reassoc": frozenset({"reassoc", "contract"})}


@cache
def kernels() -> tuple[Kernel, ...]:
    """The loops, for the installed Numba to compile when they are first called.

    Raises ImportError when Numba is not installed.
    """
    import numba  # noqa: F401
    import numpy as np

    products: tuple[tuple[str, Callable[..., Any], Contract], ...] = (
        ("gemm", _products, LOOP),
        ("gemm-reassoc", _products, REORDERED),
        ("dot", _dot(np), DOT),
    )
    rows: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("softmax", _softmax),
        ("log_softmax", _log_softmax),
        ("logsumexp", _logsumexp),
    )
    return (
        *(
            _kernel(name, "gemm", partial(_call, function, FLAGS.get(name, frozenset())), ("a", "b"), contract)
            for name, function, contract in products
        ),
        *(_kernel(op, op, partial(_call_rows, function), ("x",), ROWS) for op, function in rows),
    )


def _kernel(name: str, op: str, run: Callable[..., Any], operands: tuple[str, ...], contract: Contract) -> Kernel:
    return Kernel(
        name=f"numba/{name}",
        op=op,
        run=run,
        formats=tuple(dict.fromkeys((*operands, "out"), fmt) for fmt in FORMATS),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
    )


def _call(function: Callable[..., Any], flags: frozenset[str], a: Any, b: Any) -> Any:
    import numpy as np

    out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    _compiled(function, a.dtype.name, flags)(a, b, out)
    return out


def _call_rows(function: Callable[..., Any], x: Any) -> Any:
    import numpy as np

    # One signature for all: a result of one number a row is a column.
    rows, columns = x.shape[0], 1 if function is _logsumexp else x.shape[1]
    out = np.empty((rows, columns), x.dtype)
    _compiled(function, x.dtype.name, frozenset())(x, x, out)
    return out[:, 0] if function is _logsumexp else out


@cache
def _compiled(function: Callable[..., Any], dtype: str, flags: frozenset[str]) -> Callable[..., Any]:
    """The function for matrices of any strides, compiled once: each layout would else be compiled for anew."""
    import numba
    from numba import types

    scalar = getattr(types, dtype)
    read, written = types.Array(scalar, 2, "A", readonly=True), types.Array(scalar, 2, "C")
    compiled: Callable[..., Any] = numba.njit(types.void(read, read, written), fastmath=set(flags) or False)(function)
    return compiled


def _products(a: Any, b: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = out.dtype.type(0)
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            out[i, j] = total


def _dot(np: Any) -> Callable[..., Any]:
    """The product by NumPy's dot, with NumPy as a variable that Numba knows: it compiles no import."""

    def dot(a: Any, b: Any, out: Any) -> None:
        out[:] = np.dot(np.ascontiguousarray(a), np.ascontiguousarray(b))

    return dot


def _softmax(x: Any, _: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        top, total = x.dtype.type(-math.inf), x.dtype.type(0)
        for j in range(x.shape[1]):
            # Unlike max, this lets a NaN through.
            top = x[i, j] if x[i, j] > top or x[i, j] != x[i, j] else top
        for j in range(x.shape[1]):
            out[i, j] = math.exp(x[i, j] - top)
            total += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] /= total


def _log_softmax(x: Any, _: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        top, total = x.dtype.type(-math.inf), x.dtype.type(0)
        for j in range(x.shape[1]):
            top = x[i, j] if x[i, j] > top or x[i, j] != x[i, j] else top
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - top
            total += math.exp(out[i, j])
        for j in range(x.shape[1]):
            out[i, j] -= math.log(total)


def _logsumexp(x: Any, _: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        top, total = x.dtype.type(-math.inf), x.dtype.type(0)
        for j in range(x.shape[1]):
            top = x[i, j] if x[i, j] > top or x[i, j] != x[i, j] else top
        # An infinite maximum would give NaN where the sum is that infinity.
        top = top if math.isfinite(top) else x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        out[i, 0] = math.log(total) + top
