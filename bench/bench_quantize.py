"""How long the exact MXFP4 and NVFP4 quantizers take, beside torchao's on the same numbers and cores."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from lastbit.references.packing import pack
from lastbit.references.quantize import quantize

#: Numbers quantized: 64 MiB of float32.
ROWS, COLUMNS = 4096, 4096
ROUNDS = 5


def rows() -> list[dict[str, Any]]:
    """Ratios of medians, measured by turns in this process, codes packed as torchao packs them; and times in ms."""
    x = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)
    work: dict[str, Callable[[], Any]] = {
        "mxfp4": lambda: pack(quantize(x, "mxfp4").codes, "nibbles_low_first"),
        "nvfp4": lambda: pack(quantize(x, "nvfp4").codes, "nibbles_low_first"),
    }
    try:
        work |= _torchao(x)
    except ImportError:
        unit = "not measured: torchao is missing"
        return [_row(f"exact {name} quantizer / torchao", None, unit, "<= 1", None) for name in work]
    ms = _by_turns(work)
    table = []
    for name in ("mxfp4", "nvfp4"):
        ratio = ms[name] / ms[f"torchao {name}"]
        table.append(_row(f"exact {name} quantizer / torchao", ratio, "ratio of medians", "<= 1", ratio <= 1))
    return table + [_row(f"{name}, 2^24 numbers", ms[name], "ms", "", None) for name in work]


def _torchao(x: Any) -> dict[str, Callable[[], Any]]:
    import torch
    from torchao.prototype.mx_formats.mx_tensor import to_mx
    from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

    tensor = torch.from_numpy(x)
    return {
        "torchao mxfp4": lambda: to_mx(tensor, torch.float4_e2m1fn_x2, 32),
        "torchao nvfp4": lambda: nvfp4_quantize(tensor, 16, per_tensor_amax_to_scale(tensor.abs().max())),
    }


def _by_turns(work: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each, measured in turn so that the machine's mood is shared."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, function in work.items():
            start = perf_counter()
            function()
            times[name].append(perf_counter() - start)
    return {name: 1e3 * median(found) for name, found in times.items()}


def _row(name: str, value: float | None, unit: str, goal: str, ok: bool | None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok}
