"""The kernels of ONNX Runtime on the CPU: nodes of the standard operators, each a model of its own."""

from lastbit.kernel import Kernel
from lastbit.providers import onnxruntime_casts, onnxruntime_quantize, onnxruntime_scaled


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed ONNX Runtime.

    Raises ImportError when it, or onnx, which builds the models, is not installed.
    """
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    return onnxruntime_casts.kernels() + onnxruntime_scaled.kernels() + onnxruntime_quantize.kernels()
