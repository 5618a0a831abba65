"""Quantizers and dequantizers of our own in Triton: compiled for a CUDA device, else interpreted."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.triton import ready
from lastbit.references.formats import Format
from lastbit.references.packing import UNIT
from lastbit.references.scaling import Scaling
from lastbit.scaled_operands import NAMED, stored
from lastbit.torch_arrays import DTYPES, RAW

SOURCE = "plugins/lastbit/providers/triton_quantize_kernels.py"
NAMES = (
    "fp8_tensor",
    "fp8_row",
    "fp8_group128",
    "fp8_block128",
    "i8_tensor",
    "i8_row",
    "mxfp8_e4m3",
    "mxfp8_e5m2",
    "mxfp4",
    "nvfp4",
)
FORMATS = ("f32", "bf16", "f16")
TAILS = frozenset({"batch", "tails"})
F32_BIAS = 127
#: Kernels that are judged in the smoke tier: one of each kind, the formats by turns.
SMOKE = {
    "quantize": {
        "fp8_tensor": "f32",
        "fp8_row": "bf16",
        "fp8_group128": "f16",
        "fp8_block128": "f32",
        "i8_row": "f16",
        "mxfp8_e4m3": "bf16",
        "mxfp4": "f32",
        "nvfp4": "f32",
    },
    "dequantize": {
        "fp8_row": "bf16",
        "fp8_block128": "f32",
        "i8_row": "f32",
        "mxfp8_e4m3": "f16",
        "mxfp4": "f32",
        "nvfp4": "f32",
    },
}
#: Most numbers that are interpreted: a program of a tile takes some milliseconds.
INTERPRETED_LIMIT = 1 << 17
#: Bytes of codes in a row of a program's tile at most, and in all of it.
BYTES, TILE = 128, 4096


def kernels() -> tuple[Kernel, ...]:
    """The quantizers and dequantizers that this process can run.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    return tuple(
        _kernel(op, scaling, fmt, compiled) for op in NAMED for scaling in map(Scaling.of, NAMES) for fmt in FORMATS
    )


def _kernel(op: str, scaling: Scaling, fmt: str, compiled: bool) -> Kernel:
    """A quantizer of numbers, or a dequantizer to numbers, of the format `fmt`."""
    suffix = "" if fmt == "f32" else f"-{fmt}"
    # Element times scale is rounded to f32, and so is that times the tensor's scale, before it is rounded to `fmt`.
    order = "element_first" if op == "dequantize" and suffix else None
    return Kernel(
        name=f"triton/{op}-{scaling.name}{suffix}",
        op=op,
        run=_quantizer(scaling) if op == "quantize" else _dequantizer(scaling, fmt),
        formats={NAMED[op]: fmt},
        contract=Contract(scale_arithmetic=order, source=SOURCE),
        devices=("cuda",) if compiled else ("cpu",),
        features=TAILS,
        scaling=scaling,
        limit=None if compiled else INTERPRETED_LIMIT,
        tier="smoke" if SMOKE[op].get(scaling.name) == fmt else "standard",
    )


def quantizing(scaling: Scaling, source: str) -> dict[str, Any]:
    """The compile-time constants of the kernel `quantize` for numbers of the format `source`."""
    floor = scaling.rule == "floor"
    width = (scaling.group or BYTES) // UNIT[scaling.packing]
    return {
        "SOURCE": source,
        "SCOPE": scaling.granularity if scaling.granularity in ("tensor", "block") else "run",
        "RULE": "floor" if floor else "nvfp4" if scaling.global_scale else "divide",
        "LARGEST": Format.of(scaling.element).emax if floor else scaling.largest,
        "LEAST": Format.of(scaling.element).emin + F32_BIAS,
        **_element(scaling),
        "BM": scaling.block[0] or TILE // width,
        "BN": width,
    }


def dequantizing(scaling: Scaling, out: str) -> dict[str, Any]:
    """The compile-time constants of the kernel `dequantize` for results of the format `out`."""
    return {
        "SCALE": {"e8m0fnu": "e8m0", "e4m3fn": "e4m3"}.get(scaling.scale_format or "", "f32"),
        "BIAS": Format.of(scaling.element).bias,
        **_element(scaling),
        "OUT": out,
        "BM": TILE // BYTES,
        "BN": BYTES,
    }


def _element(scaling: Scaling) -> dict[str, int]:
    """Mantissa bits, the largest code, and codes in a byte; integers have no mantissa bits."""
    element = Format.of(scaling.element)
    integer = element.kind == "integer"
    return {
        "MANTISSA": 0 if integer else element.precision - 1,
        "MOST": int(scaling.high) if integer else element.max_code,
        "PACK": UNIT[scaling.packing],
    }


def _quantizer(scaling: Scaling) -> Callable[..., Any]:
    """A `run` of `quantize` for this scaling."""

    def run(x: Any) -> Any:
        import torch

        arrays = [
            # What an empty tensor has: the scale of zeros.
            (torch.ones if fmt == "f32" and name == "scale" else torch.zeros)(shape, device=x.device).to(
                getattr(torch, DTYPES[fmt])
            )
            for name, shape, fmt in stored(scaling, tuple(x.shape))
        ]
        if x.numel():
            codes, scale, *top = (_raw(array) for array in arrays)
            source = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[x.dtype]
            numbers = x.view(torch.int16) if source == "bf16" else x
            amax = _largest(numbers, source) if scaling.granularity == "tensor" or top else scale
            m, n = x.shape[-2:]
            numbers = numbers.reshape(-1, m, n)
            run_length = scaling.group or scaling.block[1] or (n if scaling.granularity == "row" else BYTES)
            options = quantizing(scaling, source)
            runs = -(-n // run_length)
            grid = (-(-m // options["BM"]), runs, numbers.shape[0])
            if options["SCOPE"] == "run":
                grid = (-(-m * runs // options["BM"]), 1, numbers.shape[0])
            _jit("quantize")[grid](
                numbers, amax, codes, scale, *(top or [scale]), m, n, run_length, *numbers.stride(), **options
            )
        return tuple(arrays)

    return run


def _dequantizer(scaling: Scaling, out: str) -> Callable[..., Any]:
    """A `run` of `dequantize` for this scaling and results of the format `out`."""
    group = scaling.group or scaling.block[1]

    def run(codes: Any, scale: Any, *top: Any) -> Any:
        import torch

        *batch, m, columns = codes.shape
        n = columns * UNIT[scaling.packing]
        result = torch.empty((*batch, m, n), dtype=getattr(torch, DTYPES[out]), device=codes.device)
        if result.numel():
            data = _raw(codes).reshape(-1, m, columns)
            factor = _raw(scale)
            if scale.ndim:
                factor = factor.reshape(-1, *scale.shape[-2:])
            shared = factor.stride() or (0, 0, 0)
            options = dequantizing(scaling, out)
            grid = (-(-m // options["BM"]), -(-columns // BYTES), data.shape[0])
            held = result.view(torch.int16) if out == "bf16" else result
            _jit("dequantize")[grid](
                data, factor, *(top or [factor]), held, m, n, group or n, scaling.block[0] or 1,
                *data.stride(), *shared, **options,
            )  # fmt: skip
        return result

    return run


def _largest(x: Any, source: str) -> Any:
    """The bits of the largest magnitude of x in f32, an int32 of one number: in blocks, then in blocks of these."""
    import torch

    blocks = -(-x.numel() // TILE)
    found = torch.empty((blocks,), dtype=torch.int32, device=x.device)
    _jit("largest")[(blocks,)](x.contiguous(), found, x.numel(), SOURCE=source, BLOCK=TILE)
    return found if blocks == 1 else _largest(found.view(torch.float32), "f32")


def _raw(array: Any) -> Any:
    """Bytes of formats of 8 bits; others as they are."""
    return array.view(RAW[1]) if array.element_size() == 1 else array


@cache
def _jit(name: str) -> Any:
    import triton

    from lastbit.providers import triton_quantize_kernels

    return triton.jit(getattr(triton_quantize_kernels, name))
