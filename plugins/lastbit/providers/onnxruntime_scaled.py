"""ONNX Runtime's quantized matrix products on the CPU: of integers, converted to floats, and with packed weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.scaling import Scaling

OPERATORS = "onnx.ai/onnx/operators/onnx__{}.html"
CONTRIB = "github.com/microsoft/onnxruntime/blob/v1.32.0/docs/ContribOperators.md#com.microsoft.{}"
INTEGER = Contract(source=f"{OPERATORS.format('MatMulInteger')}: accumulation in int32")
#: The result's own scale is 1 and its zero point 0, so that the output is the product, rounded and saturated.
LINEAR = Contract(
    overflow="saturate", source=f"{OPERATORS.format('QLinearMatMul')}: rounded to nearest even, saturated"
)
TO_FLOAT = Contract(source=CONTRIB.format("MatMulIntegerToFloat"))
BITS = Contract(source=f"{CONTRIB.format('MatMulNBits')}, accuracy_level 0: as the type of A")
CONTRIB_DOMAIN = "com.microsoft"
GROUP = 32


@dataclass(frozen=True, slots=True)
class Node:
    """A node: operator, domain, its inputs with their formats in order ("" is left out), its output, attributes."""

    op: str
    domain: str
    inputs: tuple[tuple[str, str], ...]
    out: str
    attributes: tuple[tuple[str, Any], ...] = ()


def kernels() -> tuple[Kernel, ...]:
    """The quantized products of the installed ONNX Runtime; `onnxruntime` finds out whether there is one."""
    found = [_integer(a, b) for a, b in (("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("i8", "u8"))]
    found += [_linear(a, b) for a, b in (("u8", "i8"), ("u8", "u8"), ("i8", "i8"))]
    found += [_to_float(a, b) for a, b in (("u8", "i8"), ("u8", "u8"), ("i8", "i8"))]
    found += [_n_bits(out, bits) for bits in (4, 8) for out in ("f32", "f16")]
    return tuple(found)


def _affine(element: str, *, scale: str | None = "f32", granularity: str = "tensor") -> Scaling:
    base = Scaling.of("u8_affine_onnx")
    return replace(
        base, name=f"{element}_affine", element=element, zero_point=element, scale_format=scale, granularity=granularity
    )


def _kernel(
    name: str,
    run: Callable[..., Any],
    formats: dict[str, str],
    scaling: Mapping[str, Any],
    contract: Contract,
    **more: Any,
) -> Kernel:
    return Kernel(
        name=f"onnxruntime/{name}",
        op="scaled_gemm",
        run=run,
        formats=formats,
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        scaling=scaling,
        **more,
    )


def _integer(a: str, b: str) -> Kernel:
    """MatMulInteger: the i32 sum of codes less zero points, no scale."""
    inputs = (("a", a), ("b", b), ("zero_a", a), ("zero_b", b))
    node = Node("MatMulInteger", "", inputs, "i32")

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, zero_a: Any, zero_b: Any) -> Any:
        return _run(node, (a.shape[0], b.shape[1]), a=a, b=b, zero_a=zero_a, zero_b=zero_b)

    scaling = {"a": _affine(a, scale=None), "b": _affine(b, scale=None)}
    return _kernel(f"matmul-integer-{a}-{b}", run, {"a": a, "b": b, "out": "i32"}, scaling, INTEGER)


def _linear(a: str, b: str) -> Kernel:
    """QLinearMatMul with an output of scale 1 and zero point 0."""
    sides = (("a", a), ("scale_a", "f32"), ("zero_a", a), ("b", b), ("scale_b", "f32"), ("zero_b", b))
    node = Node("QLinearMatMul", "", (*sides, ("scale", "f32"), ("zero", a)), a)

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, zero_a: Any, zero_b: Any) -> Any:
        import numpy as np

        scale, zero = np.array(1, np.float32), np.zeros((), a.dtype)
        given = {"a": a, "b": b, "scale_a": scale_a, "scale_b": scale_b, "zero_a": zero_a, "zero_b": zero_b}
        return _run(node, (a.shape[0], b.shape[1]), **given, scale=scale, zero=zero)

    return _kernel(
        f"qlinear-matmul-{a}-{b}", run, {"a": a, "b": b, "out": a}, {"a": _affine(a), "b": _affine(b)}, LINEAR
    )


def _to_float(a: str, b: str) -> Kernel:
    """MatMulIntegerToFloat, b with a scale and a zero point of each column."""
    inputs = (("a", a), ("b", b), ("scale_a", "f32"), ("scale_b", "f32"), ("zero_a", a), ("zero_b", b), ("bias", "f32"))
    plain = Node("MatMulIntegerToFloat", CONTRIB_DOMAIN, inputs[:-1], "f32")
    biased = Node("MatMulIntegerToFloat", CONTRIB_DOMAIN, inputs, "f32")

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, zero_a: Any, zero_b: Any, bias: Any = None) -> Any:
        columns = {"scale_b": scale_b.reshape(-1), "zero_b": zero_b.reshape(-1)}
        given = {"a": a, "b": b, "scale_a": scale_a, "zero_a": zero_a, **columns}
        more = {} if bias is None else {"bias": bias}
        return _run(plain if bias is None else biased, (a.shape[0], b.shape[1]), **given, **more)

    scaling = {"a": _affine(a), "b": _affine(b, granularity="row")}
    formats = {"a": a, "b": b, "out": "f32"}
    name = f"matmul-integer-to-float-{a}-{b}"
    return _kernel(name, run, formats, scaling, TO_FLOAT, features=frozenset({"bias"}))


def _n_bits(out: str, bits: int) -> Kernel:
    """MatMulNBits: plain a, weights of 4 or 8 bits in groups along k with a scale and a zero point each."""
    formats = {"a": out, "b": f"u{bits}", "out": out}
    base = Scaling.of(f"u4_group{GROUP}")
    packing = base.packing if bits == 4 else "none"
    scaling = replace(base, element=f"u{bits}", zero_point=f"u{bits}", scale_format=out, packing=packing)

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, zero_b: Any) -> Any:
        import numpy as np

        (m, k), n = a.shape, b.shape[1]
        groups = -(-k // GROUP)
        stored = np.zeros((n, groups * GROUP * bits // 8), np.uint8)
        stored[:, : b.shape[0]] = b.T
        zeros = np.ascontiguousarray(zero_b.T)
        if bits == 4:
            from lastbit.references.packing import pack

            zeros = pack(zeros, "nibbles_low_first")
        attributes = (("K", k), ("N", n), ("bits", bits), ("block_size", GROUP))
        inputs = (("a", out), ("b", "u8"), ("scale_b", out), ("zero_b", "u8"))
        node = Node("MatMulNBits", CONTRIB_DOMAIN, inputs, out, attributes)
        blob = stored.reshape(n, groups, GROUP * bits // 8)
        return _run(node, (m, n), a=a, b=blob, scale_b=np.ascontiguousarray(scale_b.T), zero_b=zeros)

    return _kernel(f"matmul-nbits-{bits}-{out}", run, formats, {"a": None, "b": scaling}, BITS)


def _run(node: Node, shape: tuple[int, int], **arrays: Any) -> Any:
    """The result of a model of one node."""
    import numpy as np

    feeds = {name: np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name])) for name, _ in node.inputs}
    return _session(node).run(None, feeds)[0].reshape(shape)


@cache
def _session(node: Node) -> Any:
    import onnxruntime
    from onnx import helper

    from lastbit.providers.onnxruntime import IR_VERSION, OPSET, type_of

    names = [name for name, _ in node.inputs]
    made = helper.make_node(node.op, names, ["y"], domain=node.domain, **dict(node.attributes))
    values = [helper.make_tensor_value_info(name, type_of(fmt), None) for name, fmt in node.inputs]
    result = helper.make_tensor_value_info("y", type_of(node.out), None)
    graph = helper.make_graph([made], node.op, values, [result])
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB_DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
