"""JAX's scaled matrix products on the CPU, on NumPy arrays."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

#: Where there is no block-scaled instruction, operands are scaled first, in bf16, which holds them exactly.
SOURCE = "docs.jax.dev/en/latest/_autosummary/jax.lax.scaled_dot.html: scaled operands are multiplied"
#: XLA's CPU backend computes with FTZ and DAZ set (tsl::port::ScopedFlushDenormal).
SCALED_DOT = Contract(subnormals="flush", source=SOURCE)
#: Scales stand for whole groups.
GROUPS = {"k": 32}


def kernels() -> tuple[Kernel, ...]:
    """The scaled products of JAX; `jax` finds out whether it is installed."""
    return tuple(
        Kernel(
            name=f"jax/scaled_dot-{element}",
            op="scaled_gemm",
            run=_scaled_dot(),
            formats={"a": element, "b": element, "out": "f32"},
            contract=SCALED_DOT,
            framework="numpy",
            devices=("cpu",),
            scaling={"a": scaling, "b": scaling},
            multiple=GROUPS,
        )
        for element, scaling in (("e4m3fn", "mxfp8_e4m3"), ("e5m2", "mxfp8_e5m2"))
    )


def _scaled_dot() -> Callable[..., Any]:
    def run(a: Any, b: Any, scale_a: Any, scale_b: Any) -> Any:
        import jax.numpy as jnp
        import numpy as np
        from jax import lax

        arrays = [jnp.asarray(np.ascontiguousarray(x)) for x in (a, b, scale_a, scale_b)]
        left, right, *scales = arrays
        result = lax.scaled_dot(
            left, right, lhs_scale=scales[0], rhs_scale=scales[1], preferred_element_type=jnp.float32
        )
        return np.array(result)

    return run
