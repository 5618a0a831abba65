"""ONNX Runtime's quantized matrix products on the CPU: of integers, converted to floats, and with packed weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.onnxruntime_node import CONTRIB_DOMAIN, Node, run_node
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
GROUP = 32


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
    node = Node("MatMulInteger", inputs, (("y", "i32"),))

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, zero_a: Any, zero_b: Any) -> Any:
        return _run(node, (a.shape[0], b.shape[1]), a=a, b=b, zero_a=zero_a, zero_b=zero_b)

    scaling = {"a": _affine(a, scale=None), "b": _affine(b, scale=None)}
    return _kernel(f"matmul-integer-{a}-{b}", run, {"a": a, "b": b, "out": "i32"}, scaling, INTEGER)


def _linear(a: str, b: str) -> Kernel:
    """QLinearMatMul with an output of scale 1 and zero point 0."""
    sides = (("a", a), ("scale_a", "f32"), ("zero_a", a), ("b", b), ("scale_b", "f32"), ("zero_b", b))
    node = Node("QLinearMatMul", (*sides, ("scale", "f32"), ("zero", a)), (("y", a),))

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
    plain = Node("MatMulIntegerToFloat", inputs[:-1], (("y", "f32"),), domain=CONTRIB_DOMAIN)
    biased = Node("MatMulIntegerToFloat", inputs, (("y", "f32"),), domain=CONTRIB_DOMAIN)

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
        node = Node("MatMulNBits", inputs, (("y", out),), attributes, CONTRIB_DOMAIN)
        blob = stored.reshape(n, groups, GROUP * bits // 8)
        return _run(node, (m, n), a=a, b=blob, scale_b=np.ascontiguousarray(scale_b.T), zero_b=zeros)

    return _kernel(f"matmul-nbits-{bits}-{out}", run, formats, {"a": None, "b": scaling}, BITS)


def _run(node: Node, shape: tuple[int, int], **arrays: Any) -> Any:
    """The result of a model of one node."""
    return run_node(node, arrays, (shape,))[0]
