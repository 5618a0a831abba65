"""The kernels of ONNX Runtime on the CPU: nodes of the standard operators, each a model of its own."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lastbit.kernel import Kernel
from lastbit.providers import onnxruntime_casts, onnxruntime_quantize, onnxruntime_scaled

#: Names of the formats among onnx.TensorProto's types.
TYPES = {
    "f64": "DOUBLE",
    "f32": "FLOAT",
    "f16": "FLOAT16",
    "bf16": "BFLOAT16",
    "e4m3fn": "FLOAT8E4M3FN",
    "e4m3fnuz": "FLOAT8E4M3FNUZ",
    "e5m2": "FLOAT8E5M2",
    "e5m2fnuz": "FLOAT8E5M2FNUZ",
    "e8m0fnu": "FLOAT8E8M0",
    "i8": "INT8",
    "u8": "UINT8",
    "i32": "INT32",
    "i4": "INT4",
    "u4": "UINT4",
}
OPSET, IR_VERSION = 25, 11


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed ONNX Runtime.

    Raises ImportError when it, or onnx, which builds the models, is not installed.
    """
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    return onnxruntime_casts.kernels() + onnxruntime_scaled.kernels() + onnxruntime_quantize.kernels()


def run_node(op: str, x: Any, source: str, out: str, attributes: Mapping[str, Any]) -> Any:
    """The result of a model of one node `op` with one input, as a NumPy array of the format `out`."""
    import numpy as np

    from lastbit.numpy_arrays import dtype

    session = _session(op, source, out, tuple(sorted(attributes.items())))
    x = np.ascontiguousarray(x)
    result = np.empty(x.shape, dtype(out))
    if not x.size:
        return result
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, type_of(source), x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, type_of(out), result.shape, result.ctypes.data)
    session.run_with_iobinding(binding)
    return result


@cache
def _session(op: str, source: str, out: str, attributes: tuple[tuple[str, Any], ...]) -> Any:
    import onnxruntime
    from onnx import helper

    node = helper.make_node(op, ["x"], ["y"], **dict(attributes))
    values = [helper.make_tensor_value_info(name, type_of(fmt), None) for name, fmt in (("x", source), ("y", out))]
    graph = helper.make_graph([node], op, values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def type_of(fmt: str) -> int:
    """The number of the format among onnx.TensorProto's types."""
    from onnx import TensorProto

    return int(getattr(TensorProto, TYPES[fmt]))
