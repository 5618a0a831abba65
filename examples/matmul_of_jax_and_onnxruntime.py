"""Matrix products of JAX and ONNX Runtime on the CPU: lastbit datasheet --kernels FILE --kernel "*/matmul"."""

from typing import Any

from lastbit import Contract, Kernel
from lastbit.providers.onnxruntime_node import Node, run_node


def jax_matmul(a: Any, b: Any) -> Any:
    """jax.numpy.matmul of NumPy arrays, at the highest precision."""
    import jax
    import numpy as np

    with jax.default_device(jax.devices("cpu")[0]):
        return np.asarray(jax.numpy.matmul(a, b, precision="highest"))


def onnxruntime_matmul(a: Any, b: Any) -> Any:
    """The MatMul node of ONNX Runtime's CPU provider."""
    node = Node("MatMul", (("a", "f32"), ("b", "f32")), (("out", "f32"),))
    return run_node(node, {"a": a, "b": b}, ((a.shape[0], b.shape[1]),))[0]


def same(*formats: str) -> tuple[dict[str, str], ...]:
    """Operands and result of one format, for each."""
    return tuple(dict.fromkeys(("a", "b", "out"), fmt) for fmt in formats)


CPU: dict[str, Any] = {"framework": "numpy", "devices": ("cpu",)}
KERNELS = [
    Kernel("jax/matmul", "gemm", jax_matmul, same("f32", "f16", "bf16"), Contract(), **CPU),
    Kernel("onnxruntime/matmul", "gemm", onnxruntime_matmul, same("f32"), Contract(), **CPU),
]
