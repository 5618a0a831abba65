"""Tiled scaled matrix products in Triton of our own: compiled where there is a CUDA device, else interpreted."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.triton import INTERPRETED_LIMIT, ready
from lastbit.references.scaling import Scaling

SOURCE = "plugins/lastbit/providers/triton_scaled_kernels.py"
SUMS = Contract(scaled="sums", source=f"{SOURCE}: sums of codes, each scaled, added in f32")
#: Emulated, codes are scaled into bf16, which holds them exactly, and are multiplied then.
PRODUCTS = Contract(source=f"{SOURCE}: tl.dot_scaled")

#: Names, elements and scalings of the products by `tl.dot_scaled`.
PRODUCT_ROWS = (
    ("scaled-mxfp8", "e4m3fn", "mxfp8_e4m3"),
    ("scaled-mxfp8-e5m2", "e5m2", "mxfp8_e5m2"),
    ("scaled-mxfp4", "e2m1fn", "mxfp4"),
    ("scaled-nvfp4", "e2m1fn", "nvfp4"),
)

TILE = {"m": 64, "n": 64, "k": 64}
BLOCK = 32


def kernels() -> tuple[Kernel, ...]:
    """The scaled products that this process can run.

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    compiled = ready()
    sums = (
        _sums("scaled-fp8", "e4m3fn", "fp8_tensor", "fp8_tensor", compiled),
        _sums("scaled-fp8-rows", "e4m3fn", "fp8_row", "fp8_row", compiled),
        _sums("scaled-fp8-blocks", "e4m3fn", "fp8_group128", "fp8_block128", compiled),
        _sums("scaled-i8-rows", "i8", "i8_row", "i8_row", compiled),
    )
    if absent():
        return sums
    return sums + tuple(_products(name, element, scaling, compiled) for name, element, scaling in PRODUCT_ROWS)


def absent() -> dict[str, str]:
    """Why the kernels of `tl.dot_scaled` cannot run here, by name: an interpreter that cannot (Triton 3.7 and before).

    Raises ImportError when PyTorch or Triton is not installed, LastbitError when Triton can run nothing here.
    """
    why = "" if ready() else _uninterpreted()
    return {f"triton/{name}": why for name, _, _ in PRODUCT_ROWS} if why else {}


@cache
def _uninterpreted() -> str:
    """What the interpreter says to a scaled product of one tile, or ""."""
    import torch
    import triton

    ones, scale = torch.ones(16, 32).to(torch.float8_e4m3fn), torch.ones(16, 1).to(torch.float8_e8m0fnu)
    try:
        _run_products(Scaling.of("mxfp8_e4m3"))(ones, ones.t(), scale, scale)
    except Exception as error:  # whatever an interpreter without the function raises
        said = f"{type(error).__name__}: {error}"
        return f"unsupported here (Triton {triton.__version__}'s interpreter does not run tl.dot_scaled: {said})"
    return ""


def _sums(name: str, element: str, a: str, b: str, compiled: bool) -> Kernel:
    scalings = Scaling.of(a), Scaling.of(b)
    return _kernel(name, element, scalings, SUMS, _run_sums(*scalings), compiled)


def _products(name: str, element: str, scaling: str, compiled: bool) -> Kernel:
    chosen = Scaling.of(scaling)
    return _kernel(name, element, (chosen, chosen), PRODUCTS, _run_products(chosen), compiled)


def _kernel(
    name: str,
    element: str,
    scalings: tuple[Scaling, Scaling],
    contract: Contract,
    run: Callable[..., Any],
    compiled: bool,
) -> Kernel:
    return Kernel(
        name=f"triton/{name}",
        op="scaled_gemm",
        run=run,
        formats={"a": element, "b": element, "out": "f32"},
        contract=contract,
        devices=("cuda",) if compiled else ("cpu",),
        scaling=dict(zip("ab", scalings, strict=True)),
        limit=None if compiled else INTERPRETED_LIMIT,
        tile=TILE if all(one.granularity in ("tensor", "row") for one in scalings) else {},
        multiple={"k": 2} if element == "e2m1fn" else {},
    )


def _run_sums(left: Scaling, right: Scaling) -> Callable[..., Any]:
    """A `run` of `scaled_sums` for these scalings; b's is that of b transposed."""
    runs = [{"group": one.group, "block": one.block[1]}.get(one.granularity, 0) for one in (left, right)]
    rows = [one.block[0] if one.granularity == "block" else 1 for one in (left, right)]

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        import torch
        import triton.language as tl

        (m, k), n = a.shape, b.shape[1]
        out = torch.empty((m, n), dtype=torch.float32, device=a.device)
        if not out.numel():
            return out
        sa, sb = _strides(scale_a), _strides(scale_b)
        options = {"ROWS_A": rows[0], "ROWS_B": rows[1], "RUN": max(runs)}
        blocks = {"BM": TILE["m"], "BN": TILE["n"], "BK": TILE["k"]}
        acc = tl.int32 if a.dtype == torch.int8 else tl.float32
        strides = (*a.stride(), *b.stride(), *sa, *sb, *out.stride())
        grid = (-(-m // TILE["m"]), -(-n // TILE["n"]))
        _jit("scaled_sums")[grid](
            a, b, scale_a, scale_b, out, m, n, k, *strides, **options, **blocks, ACC=acc, IMPRECISE=0
        )
        return out

    return run


def _run_products(scaling: Scaling) -> Callable[..., Any]:
    """A `run` of `scaled_products` for operands of this scaling."""
    pack = 1 if scaling.packing == "none" else 2
    dot = {"e4m3fn": "e4m3", "e5m2": "e5m2", "e2m1fn": "e2m1"}[scaling.element]

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, global_scale: Any = None) -> Any:
        import torch

        (m, k), n = a.shape, b.shape[1]
        out = torch.empty((m, n), dtype=torch.float32, device=a.device)
        if not out.numel():
            return out
        if scale_a.dtype == torch.float8_e8m0fnu:
            scale_a, scale_b = scale_a.view(torch.uint8), scale_b.view(torch.uint8)
        factor = torch.ones((), device=a.device) if global_scale is None else global_scale
        strides = (*a.stride(), *b.stride(), *scale_a.stride(), *scale_b.stride(), *out.stride())
        blocks = {"BM": TILE["m"], "BN": TILE["n"], "BK": 2 * BLOCK}
        grid = (-(-m // TILE["m"]), -(-n // TILE["n"]))
        _jit("scaled_products")[grid](
            a, b, scale_a, scale_b, out, m, n, k * pack, *strides, factor,
            FORMAT=dot, PACK=pack, GROUP=scaling.group, **blocks,
        )  # fmt: skip
        return out

    return run


def _strides(scale: Any) -> tuple[int, int]:
    """Strides of a scale's two axes, 0 where there is one for all."""
    if scale.ndim < 2:
        return 0, 0
    first, second = (stride if size > 1 else 0 for size, stride in zip(scale.shape, scale.stride(), strict=True))
    return first, second


@cache
def _jit(name: str) -> Any:
    import triton

    from lastbit.providers import triton_scaled_kernels

    return triton.jit(getattr(triton_scaled_kernels, name))
