"""What an op's kernels return: the names, shapes and formats of their results, from those of the operands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lastbit.kernel import Kernel

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Result:
    """One array that a kernel returns."""

    name: str
    shape: tuple[int, ...]
    format: str


#: Operands that a kernel with feature "inplace" changes, in the order of the results that they are.
IN_PLACE = {"kv_append": ("k_cache", "v_cache")}


def gemm_shape(shapes: Shapes) -> tuple[int, ...]:
    """(.., m, n) for a (.., m, k) and b (.., k, n)."""
    a, b = shapes["a"], shapes["b"]
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def attention_shape(shapes: Shapes) -> tuple[int, ...]:
    """(b, hq, lq, dv) for q (b, hq, lq, d) and v (b, hkv, lk, dv)."""
    return (*shapes["q"][:-1], shapes["v"][-1])


def paged_shape(shapes: Shapes) -> tuple[int, ...]:
    """(b, hq, lq, dv) for q (b, hq, lq, d) and v_cache (pages, block, hkv, dv)."""
    return (*shapes["q"][:-1], shapes["v_cache"][-1])


def lse_shape(shapes: Shapes) -> tuple[int, ...]:
    """(b, hq, lq) for q (b, hq, lq, d)."""
    return shapes["q"][:-1]


def lse_format(formats: Mapping[str, str]) -> str:
    """Format of the log-sum-exp: formats["lse"], f64 of an f64 kernel, else f32."""
    return formats.get("lse", "f64" if formats["out"] == "f64" else "f32")


#: The first result's shape from the operands', by op.
RESULT: dict[str, Callable[[Shapes], tuple[int, ...]]] = {
    "gemm": gemm_shape,
    "softmax": lambda shapes: shapes["x"],
    "log_softmax": lambda shapes: shapes["x"],
    "logsumexp": lambda shapes: shapes["x"][:-1],
    "attention": attention_shape,
    "paged_attention": paged_shape,
    "kv_append": lambda shapes: shapes["k_cache"],
}


def results(kernel: "Kernel", formats: Mapping[str, str], shapes: Shapes) -> tuple[Result, ...]:
    """The kernel's results in order, for operands of these formats and shapes."""
    out = RESULT[kernel.op](shapes)
    if kernel.op == "kv_append":
        return tuple(Result(name, shapes[name], formats[name]) for name in IN_PLACE["kv_append"])
    found = [Result("out", out, formats["out"])]
    if "lse" in kernel.features:
        found.append(Result("lse", lse_shape(shapes), lse_format(formats)))
    if "grad_out" in shapes:
        found += [Result(f"d{name}", shapes[name], formats[name]) for name in ("q", "k", "v")]
    return tuple(found)


def in_place(kernel: "Kernel") -> tuple[str, ...]:
    """The operands that become the kernel's results."""
    return IN_PLACE.get(kernel.op, ()) if "inplace" in kernel.features else ()
