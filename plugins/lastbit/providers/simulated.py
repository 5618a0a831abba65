"""Matrix products as other machines compute them, bit for bit: tensor and matrix cores, and plain summation orders."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.references.chains import round_to, to_odd, two_product, two_sum

Floats = NDArray[np.float64]

#: Largest m*n*k: a product of this size takes 0.03 s (fused blocks) to 0.15 s (f64 chains) on one core.
LIMIT = 1 << 23
CHAIN = "one rounding an operation: IEEE 754-2019, section 5.4.1; order: docs/accumulators.md"


@dataclass(frozen=True, slots=True)
class Simulated:
    """A matrix product by `accumulator`, then alpha * sum + beta * c in f32, then one rounding to `out`."""

    accumulator: Accumulator
    out: str

    def __call__(self, a: Any, b: Any, *, c: Any = None, alpha: float = 1.0, beta: float = 1.0) -> Any:
        """a (.., m, k), b (.., k, n), c (.., m, n), arrays of the operands' formats; returns (.., m, n) in `out`."""
        result = self.accumulator.matmul(_values(a), _values(b))
        with np.errstate(all="ignore"):
            if alpha != 1.0:
                result = _scaled(result, alpha)
            if c is not None and beta != 0.0:
                addend = _values(c) if beta == 1.0 else _scaled(_values(c), beta)
                result = _f32(*two_sum(result, addend))
            return _rounded(result, self.out)


def kernels() -> tuple[Kernel, ...]:
    """The simulated products: each device at its own formats, and the plain orders of f32, f16, f64 and i32."""
    f32 = Accumulator.of("f32")
    promoted = replace(Accumulator.of("h100", "e4m3fn"), name="h100/e4m3fn, f32 every 128 terms", promote=128)
    f16_sum = Accumulator.of("h100", "f16", carried="f16")
    split = replace(Accumulator.of("h100", "f16"), name="h100/f16, 4 sums added in f32", order="split", width=4)
    return (
        _device("v100", "v100", "f16", "f32"),
        _device("a100", "a100", "f16", "f16"),
        _device("a100-bf16", "a100", "bf16", "bf16", tier="standard"),
        _device("a100-tf32", "a100", "tf32", "f32"),
        _device("ada-fp8", "ada", "e4m3fn", "f32", tier="standard"),
        _device("h100", "h100", "f16", "f32"),
        _device("h100-bf16", "h100", "bf16", "bf16"),
        _kernel("h100-f16-sum", f16_sum, "f16", "f16", f16_sum.source, tier="standard"),
        _kernel("h100-split-k", split, "f16", "f32", split.source, tier="standard"),
        _device("h100-fp8", "h100", "e4m3fn", "f32"),
        _device("h100-e5m2", "h100", "e5m2", "f32", tier="standard"),
        _kernel("h100-fp8-promoted", promoted, "e4m3fn", "bf16", f"{promoted.source}; arXiv 2412.19437, section 3.3.2"),
        _device("b200", "b200", "bf16", "f32", tier="standard"),
        _device("b200-fp8", "b200", "e4m3fn", "f32"),
        _device("cdna1", "mi100", "f16", "f32", tier="standard"),
        _device("cdna2", "mi250", "f16", "f32"),
        _device("cdna2-bf16", "mi250", "bf16", "f32", tier="standard"),
        _device("cdna3", "mi300", "f16", "f32"),
        _device("cdna3-fp8", "mi300", "e4m3fnuz", "f32"),
        _chain("f32-sequential", f32, "sequential", "f32"),
        _chain("f32-mul-add", replace(f32, fma=False), "sequential", "f32", tier="standard"),
        _chain("f32-pairwise", replace(f32, fma=False), "pairwise", "f32"),
        _chain("f32-lanes", replace(f32, width=16), "lanes", "f32", tier="standard"),
        _chain("f32-split-k", replace(f32, width=4), "split", "f32"),
        _chain("f16-accumulate", Accumulator.of("f16"), "sequential", "f16", tier="standard"),
        _chain("f64-sequential", Accumulator.of("f64"), "sequential", "f64", tier="standard"),
        _kernel("i32", Accumulator.of("i32"), "i8", "i32", "C++20 [conv.integral]: two's complement, modulo 2^32"),
    )


def _device(name: str, device: str, operands: str, out: str, tier: str = "smoke") -> Kernel:
    accumulator = Accumulator.of(device, operands)
    return _kernel(name, accumulator, operands, out, accumulator.source, tier=tier)


def _chain(name: str, accumulator: Accumulator, order: str, fmt: str, tier: str = "smoke") -> Kernel:
    width = f" {accumulator.width}" if accumulator.width else ""
    fused = "FMA" if accumulator.fma else "multiply, add"
    ordered = replace(accumulator, order=order, name=f"{fmt} {order}{width}, {fused}")
    return _kernel(name, ordered, fmt, fmt, CHAIN, tier=tier)


def _kernel(name: str, accumulator: Accumulator, operands: str, out: str, source: str, tier: str = "smoke") -> Kernel:
    return Kernel(
        name=f"simulated/{name}",
        op="gemm",
        run=Simulated(accumulator, out),
        formats={"a": operands, "b": operands, "out": out},
        contract=Contract(
            accumulator=accumulator,
            subnormals="flush" if accumulator.flush else "keep",
            batch_invariant=True,
            source=source,
        ),
        framework="numpy",
        devices=("cpu",),
        features=frozenset({"batch"} if out in ("f64", "i32") else {"batch", "c", "alpha", "beta"}),
        limit=LIMIT,
        tier=tier,
    )


def _scaled(x: Floats, factor: float) -> Floats:
    """factor * x, rounded once to f32."""
    return _f32(*two_product(x, np.full_like(x, factor)))


def _f32(value: Floats, error: Floats) -> Floats:
    """`value + error` rounded once to f32."""
    return to_odd(value, error).astype(np.float32).astype(np.float64)


def _values(x: Any) -> Floats:
    """The exact values of an array of any format: NumPy's and ml_dtypes' types all convert to float64 exactly."""
    return np.asarray(x).astype(np.float64)


def _rounded(x: Floats, out: str) -> Any:
    """`x` as an array of `out`, rounded once to nearest even."""
    if out == "bf16":
        import ml_dtypes

        return round_to(x, 8, -126, 127).astype(ml_dtypes.bfloat16)
    return x.astype({"f64": np.float64, "f32": np.float32, "f16": np.float16, "i32": np.int32}[out])
