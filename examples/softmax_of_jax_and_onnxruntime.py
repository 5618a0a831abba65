"""Softmaxes of JAX and ONNX Runtime on the CPU: lastbit datasheet --kernels FILE --kernel "*/softmax"."""

from typing import Any

from lastbit import Contract, Kernel
from lastbit.providers.onnxruntime_node import Node, run_node


def jax_softmax(x: Any) -> Any:
    """jax.nn.softmax of a NumPy array."""
    import jax
    import numpy as np

    with jax.default_device(jax.devices("cpu")[0]):
        return np.asarray(jax.nn.softmax(x, axis=-1))


def onnxruntime_softmax(x: Any) -> Any:
    """The Softmax node of ONNX Runtime's CPU provider."""
    node = Node("Softmax", (("x", "f32"),), (("out", "f32"),))
    return run_node(node, {"x": x}, (x.shape,))[0]


def same(*formats: str) -> tuple[dict[str, str], ...]:
    """Operand and result of one format, for each."""
    return tuple(dict.fromkeys(("x", "out"), fmt) for fmt in formats)


CPU: dict[str, Any] = {"framework": "numpy", "devices": ("cpu",)}
KERNELS = [
    Kernel("jax/softmax", "softmax", jax_softmax, same("f32", "f16", "bf16"), Contract(), **CPU),
    Kernel("onnxruntime/softmax", "softmax", onnxruntime_softmax, same("f32"), Contract(), **CPU),
]
