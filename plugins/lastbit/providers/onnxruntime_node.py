"""Models of one node for ONNX Runtime's CPU provider, run on NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

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
#: Two codes a byte, the first in the low half, across rows.
PACKED = ("i4", "u4")
OPSET, IR_VERSION = 25, 11
CONTRIB_DOMAIN = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: operator, formats of its inputs and outputs by name in order, attributes, and its domain."""

    op: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Any], ...] = ()
    domain: str = ""


def run_node(
    node: Node,
    arrays: Mapping[str, Any],
    shapes: tuple[tuple[int, ...], ...],
    declared: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Any, ...]:
    """The results of a model of the node, of these shapes; `declared` has those of packed tensors, in numbers.

    An i4 or u4 input that it does not name has one code a byte.
    """
    import numpy as np

    from lastbit.numpy_arrays import dtype
    from lastbit.references.packing import pack

    session, declared = _session(node), declared or {}
    binding = session.io_binding()
    # The binding holds addresses only.
    kept = []
    for name, fmt in node.inputs:
        array = np.asarray(arrays[name], order="C")
        shape = declared.get(name, array.shape)
        if fmt in PACKED and name not in declared:
            array = pack(array.reshape(-1).view(np.uint8) & 15, "nibbles_low_first")
        kept.append(array)
        binding.bind_input(name, "cpu", 0, type_of(fmt), shape, array.ctypes.data)
    results = tuple(
        np.empty(shape, np.uint8 if fmt in PACKED else dtype(fmt))
        for (_, fmt), shape in zip(node.outputs, shapes, strict=True)
    )
    for (name, fmt), made in zip(node.outputs, results, strict=True):
        binding.bind_output(name, "cpu", 0, type_of(fmt), declared.get(name, made.shape), made.ctypes.data)
    session.run_with_iobinding(binding)
    return results


def type_of(fmt: str) -> int:
    """The number of the format among onnx.TensorProto's types."""
    from onnx import TensorProto

    return int(getattr(TensorProto, TYPES[fmt]))


@cache
def _session(node: Node) -> Any:
    import onnxruntime
    from onnx import helper

    def infos(values: tuple[tuple[str, str], ...]) -> list[Any]:
        return [helper.make_tensor_value_info(name, type_of(fmt), None) for name, fmt in values]

    names = [[name for name, _ in values] for values in (node.inputs, node.outputs)]
    made = helper.make_node(node.op, *names, domain=node.domain, **dict(node.attributes))
    graph = helper.make_graph([made], node.op, infos(node.inputs), infos(node.outputs))
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB_DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
