"""Scaled matrix products as matrix engines compute them: FP8 with scaled sums, MX and NVFP4 with scaled products."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator
from lastbit.references.chains import round_to
from lastbit.references.engines import f32_add
from lastbit.references.formats import Format
from lastbit.references.packing import unpack
from lastbit.references.scaled_gemm import Part, Problem, part, segments
from lastbit.references.scaling import Scaling

Floats = NDArray[np.float64]

#: Largest m*n*k: a product of this size takes some tenths of a second on one core.
LIMIT = 1 << 22
#: Products that a Blackwell engine adds exactly before it aligns their sums, and sums that it aligns together.
NARROW_TERMS, NARROW_SUMS = 16, 4
DEEPSEEK = "arXiv 2412.19437, section 3.3.2: partial sums of 128 products are scaled and added in f32"
BLOCK_SCALED = "microsoft/MMA-Sim c785138: block scales enter before alignment"
NARROW = f"{BLOCK_SCALED}; 4-bit operands: 16 products exactly, then 35 fraction bits"

INTEGER = "i32 sums; f32 scales, IEEE 754-2019, section 5.4.1"

#: A way to sum: the problem to an (m, n) array of f32 values.
Product = Callable[[Problem], Floats]


@dataclass(frozen=True, slots=True)
class SimulatedScaled:
    """A scaled product: operands decoded, summed by `product`, times a global scale in f32, rounded once to `out`."""

    product: Product
    elements: tuple[str, str]
    scalings: tuple[Scaling, Scaling]
    out: str

    def __call__(self, a: Any, b: Any, scale_a: Any, scale_b: Any, *, global_scale: Any = None) -> Any:
        """a (m, k), b (k, n), packed as their scalings say, and their scales; returns (m, n) in `out`."""
        left = _part(a, self.elements[0], self.scalings[0], scale_a)
        right = _part(b.T, self.elements[1], self.scalings[1], np.asarray(scale_b).T)
        with np.errstate(all="ignore"):
            result = self.product(Problem(left, right))
            if global_scale is not None:
                result = _times(result, np.asarray(global_scale).astype(np.float64))
            return _rounded(result, self.out)


def kernels() -> tuple[Kernel, ...]:
    """The simulated scaled products."""
    hopper, blackwell = Accumulator.of("h100", "e4m3fn"), Accumulator.of("b200", "e4m3fn")
    terms = NARROW_TERMS * NARROW_SUMS
    narrow = replace(blackwell, name="b200/e2m1fn", terms=terms, fraction_bits=35, input_emin=0)
    e4m3, e2m1 = ("e4m3fn", "e4m3fn"), ("e2m1fn", "e2m1fn")
    return (
        _kernel("h100-fp8-rows", hopper, e4m3, "bf16", ("fp8_row", "fp8_row"), "sums", hopper.source),
        _kernel("h100-fp8-blocks", hopper, e4m3, "f32", ("fp8_group128", "fp8_block128"), "sums", DEEPSEEK),
        _kernel("b200-fp8-rows", blackwell, e4m3, "f32", ("fp8_row", "fp8_row"), "sums", blackwell.source),
        _kernel("b200-mxfp8", blackwell, e4m3, "f32", ("mxfp8_e4m3", "mxfp8_e4m3"), "products", BLOCK_SCALED),
        _kernel("b200-mxfp4", narrow, e2m1, "f32", ("mxfp4", "mxfp4"), "products", NARROW),
        _kernel("b200-nvfp4", narrow, e2m1, "bf16", ("nvfp4", "nvfp4"), "products", NARROW),
        _kernel("i8-rows", Accumulator.of("i32"), ("i8", "i8"), "f32", ("i8_row", "i8_row"), "sums", INTEGER),
    )


def _kernel(
    name: str,
    accumulator: Accumulator,
    elements: tuple[str, str],
    out: str,
    names: tuple[str, str],
    scaled: str,
    source: str,
) -> Kernel:
    a, b = (Scaling.of(chosen) for chosen in names)
    product = _scaled_sums(accumulator)
    if scaled == "products":
        product = _scaled_blocks(accumulator) if accumulator.fraction_bits < 35 else _narrow_blocks(accumulator)
    return Kernel(
        name=f"simulated/scaled-{name}",
        op="scaled_gemm",
        run=SimulatedScaled(product, elements, (a, b), out),
        formats={"a": elements[0], "b": elements[1], "out": out},
        contract=Contract(accumulator=accumulator, scaled=scaled, batch_invariant=True, source=source),
        framework="numpy",
        devices=("cpu",),
        scaling={"a": a, "b": b},
        limit=LIMIT,
        multiple={"k": 64} if elements[0] == "e2m1fn" else {"k": 32} if scaled == "products" else {},
    )


def _scaled_sums(accumulator: Accumulator) -> Product:
    """Codes are summed by the engine while no scale changes; each sum is scaled and added in f32."""

    def product(problem: Problem) -> Floats:
        a, b = problem.a, problem.b
        total = np.zeros((a.steps.shape[0], b.steps.shape[0]))
        for stretch in segments(problem):
            partial = accumulator.matmul(a.steps[:, stretch], b.steps[:, stretch].T)
            partial = round_to(partial, 24, -126, 127)  # an integer sum becomes f32 here
            scale = _times(a.scale[:, stretch.start, None], b.scale[None, :, stretch.start])
            total = f32_add(_times(partial, scale), total)
        return total

    return product


def _scaled_blocks(accumulator: Accumulator) -> Product:
    """One fused addition a block of 32: with scales that are powers of two, it is that of codes and of the carried sum
    over the scales."""

    def product(problem: Problem) -> Floats:
        a, b = problem.a, problem.b
        carried = np.zeros((a.steps.shape[0], b.steps.shape[0]))
        for stretch in segments(problem):
            scale = a.scale[:, stretch.start, None] * b.scale[None, :, stretch.start]
            carried = accumulator.matmul(a.steps[:, stretch], b.steps[:, stretch].T, carried / scale) * scale
        return round_to(carried, 24, -126, 127, "toward-zero")

    return product


def _narrow_blocks(accumulator: Accumulator) -> Product:
    """Sums of 16 products are exact, times their scales; four of them and the carried sum are one fused addition."""
    fused = replace(accumulator, terms=NARROW_SUMS, input_emin=-1022)

    def product(problem: Problem) -> Floats:
        a, b = problem.a.values, problem.b.values
        m, n = len(a), len(b)
        total = np.zeros((m, n))
        for start in range(0, problem.k, NARROW_TERMS * NARROW_SUMS):
            stop = min(start + NARROW_TERMS * NARROW_SUMS, problem.k)
            parts = [slice(i, min(i + NARROW_TERMS, stop)) for i in range(start, stop, NARROW_TERMS)]
            sums = np.stack([(a[:, one] @ b[:, one].T).reshape(-1) for one in parts], axis=-1)
            total = fused.dot(sums, np.ones_like(sums), total.reshape(-1)).reshape(m, n)
        return total

    return product


def _part(codes: Any, element: str, scaling: Scaling, scale: Any) -> Part:
    """Codes (rows, k or bytes) and scales of a side, decoded."""
    if scaling.packing == "none":
        values = np.asarray(codes).astype(np.float64)
    else:
        raw = np.ascontiguousarray(codes)
        values = Format.of(element).decode(unpack(raw, scaling.packing, 2 * raw.shape[1]))
    return part(values, scaling, np.asarray(scale).astype(np.float64))


def _times(x: Floats, y: Floats) -> Floats:
    """x * y rounded once to f32: both have at most 24 bits, so that float64 holds the product."""
    return round_to(x * y, 24, -126, 127)


def _rounded(x: Floats, out: str) -> Any:
    if out == "bf16":
        import ml_dtypes

        return round_to(x, 8, -126, 127).astype(ml_dtypes.bfloat16)
    return x.astype(np.float32)
