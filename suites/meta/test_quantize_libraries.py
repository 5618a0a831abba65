"""Libraries quantize as the presets that cite them say, bit for bit; where they do not is a row of docs/quantize.md."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from format_libraries import ML_DTYPES
from quantize_numbers import numbers

from lastbit.references.dequantize import dequantize, truth
from lastbit.references.formats import Format
from lastbit.references.packing import pack, swizzled, unpack
from lastbit.references.quantize import Quantized, given, quantize, quantize_with, right, right_scales
from lastbit.references.scaling import Scaling

torch = pytest.importorskip("torch")
KINDS = ("normal", "ties", "wide", "zeros")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def data(kind: str, fmt: str, shape: tuple[int, int] = (32, 256)) -> tuple[Any, Any]:
    """Numbers as float64, and as a tensor of the format."""
    x = numbers(kind, shape, fmt, 7)
    return x, torch.from_numpy(x).to(DTYPES[fmt])


def agree(codes: Any, scale: Any, expected: Quantized, scaling: str) -> None:
    """Codes and scale codes, any shape, are the expected ones."""
    element, stored = Format.of(Scaling.of(scaling).element), Format.of(Scaling.of(scaling).scale_format or "f32")
    codes = np.asarray(codes).reshape(expected.codes.shape).astype(element.code_dtype)
    assert right(codes, expected, scaling).all()
    assert expected.scale is not None
    assert right_scales(
        np.asarray(scale).reshape(expected.scale.shape).astype(stored.code_dtype), expected, scaling
    ).all()


def bits(x: Any) -> Any:
    """The bit patterns of an f32 tensor."""
    return x.float().numpy().view(np.uint32)


MX = [
    name
    for name in Scaling.names()
    if name.startswith("mxf") and name.rsplit("_", 1)[-1] in ("floor", "ceil", "even", "rceil")
]


def to_mx(tensor: Any, name: str) -> tuple[Any, Any]:
    """torchao's codes, unpacked, and scales."""
    mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
    modes = pytest.importorskip("torchao.prototype.mx_formats.config").ScaleCalculationMode
    base, rule = name.rsplit("_", 1)
    element = {
        "mxfp8_e4m3": torch.float8_e4m3fn,
        "mxfp8_e5m2": torch.float8_e5m2,
        "mxfp6_e3m2": "fp6_e3m2",
        "mxfp6_e2m3": "fp6_e2m3",
        "mxfp4": torch.float4_e2m1fn_x2,
    }[base]
    scale, codes = mx.to_mx(tensor, element, 32, modes[rule.upper()])
    codes = codes.view(torch.uint8).numpy()
    if base == "mxfp4":
        codes = unpack(codes, "nibbles_low_first", tensor.shape[-1])
    return codes, scale.view(torch.uint8).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MX)
def test_torchao_mx(name: str, kind: str) -> None:
    for fmt in ("f32", "bf16"):
        x, tensor = data(kind, fmt)
        agree(*to_mx(tensor, name), quantize(x, name, fmt), name)


@pytest.mark.parametrize("name", [name for name in MX if not name.endswith("rceil")])
def test_torchao_mx_of_every_bf16_amax_and_neighbours_in_f32(name: str) -> None:
    """Zero, subnormals and infinity too; the largest number is negative and stands in the middle of its block."""
    amax = (np.arange(0x7F81, dtype=np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        few = amax[::16]  # of eight significands: where the rules change is among them
        amax = np.concatenate([amax, np.nextafter(few, np.float32(0)), np.nextafter(few, np.float32(np.inf))])
    x = np.zeros((amax.size, 32), np.float32)
    x[:, 5], x[:, 1] = -amax, amax * np.float32(0.3)
    agree(*to_mx(torch.from_numpy(x), name), quantize(x, name), name)


@pytest.mark.parametrize("kind", KINDS)
def test_torchao_nvfp4(kind: str) -> None:
    nv = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")
    for fmt in ("f32", "bf16"):
        x, tensor = data(kind, fmt)
        top = nv.per_tensor_amax_to_scale(tensor.abs().max())
        scale, codes = nv.nvfp4_quantize(tensor, 16, top)
        expected = quantize(x, "nvfp4", fmt)
        agree(unpack(codes.numpy(), "nibbles_low_first", 256), scale.view(torch.uint8).numpy(), expected, "nvfp4")
        assert expected.global_scale == bits(top)
        scale, codes = nv.nvfp4_quantize(tensor, 16)
        expected = quantize(x, "nvfp4_single", fmt)
        agree(
            unpack(codes.numpy(), "nibbles_low_first", 256), scale.view(torch.uint8).numpy(), expected, "nvfp4_single"
        )


AFFINE = {
    "i8_row_torchao": ("SYMMETRIC", (1, 256), -128, 127),
    "i8_tensor_torchao": ("SYMMETRIC", (32, 256), -128, 127),
    "i8_affine": ("ASYMMETRIC", (32, 256), -128, 127),
    "i8_row_affine": ("ASYMMETRIC", (1, 256), -128, 127),
    "i4_group32": ("SYMMETRIC", (1, 32), -8, 7),
    "i4_group128": ("SYMMETRIC", (1, 128), -8, 7),
    "i4_group64_zp": ("ASYMMETRIC", (1, 64), -8, 7),
    "u4": ("ASYMMETRIC", (1, 128), 0, 15),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", AFFINE)
def test_torchao_integers(name: str, kind: str) -> None:
    primitives = pytest.importorskip("torchao.quantization.quant_primitives")
    mapping, block, low, high = AFFINE[name]
    for fmt in ("f32", "bf16", "f16"):
        x, tensor = data(kind, fmt)
        holder = torch.uint8 if low == 0 else torch.int8
        scale, zero = primitives.choose_qparams_affine(
            tensor, primitives.MappingType[mapping], block, holder, low, high
        )
        values = primitives.quantize_affine(tensor, block, scale, zero, holder, low, high)
        expected = quantize(x, name, fmt)
        element = Format.of(Scaling.of(name).element)
        agree(element.encode(values.double().numpy()), bits(scale), expected, name)
        if expected.zero_point is not None:
            assert np.array_equal(element.decode(expected.zero_point).ravel(), zero.double().numpy().ravel())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "block"), [("fp8_row_torchao", [1, 256]), ("fp8_tensor_torchao", [32, 256])])
def test_torchao_float8(name: str, block: list[int], kind: str) -> None:
    primitives = pytest.importorskip("torchao.quantization.quant_primitives")
    for fmt in ("f32", "bf16", "f16"):
        x, tensor = data(kind, fmt)
        scale = primitives._choose_scale_float8(tensor, block)
        codes = primitives._quantize_affine_float8(tensor, scale).view(torch.uint8).numpy()
        agree(codes, bits(scale), quantize(x, name, fmt), name)


@pytest.mark.parametrize("kind", KINDS)
def test_bitsandbytes(kind: str) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    for fmt in ("f32", "bf16", "f16"):
        x, tensor = data(kind, fmt)
        packed, state = functional.quantize_4bit(tensor, quant_type="nf4", blocksize=64)
        codes = unpack(packed.numpy().reshape(-1), "nibbles_high_first", x.size)
        agree(codes, bits(state.absmax), quantize(x.reshape(-1), "nf4_bitsandbytes", fmt), "nf4_bitsandbytes")
        values, scale, _ = functional.int8_vectorwise_quant(tensor.clone())
        agree(
            values.view(torch.uint8).numpy(),
            bits(scale),
            quantize(x, "i8_row_bitsandbytes", fmt),
            "i8_row_bitsandbytes",
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "kept"), [("gguf_q8_0", 2), ("gguf_q4_0", 2), ("gguf_mxfp4", 1)])
def test_gguf(name: str, kept: int, kind: str) -> None:
    """Blocks of bytes: the scale, then the codes."""
    gguf = pytest.importorskip("gguf")
    x, _ = data(kind, "f32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gguf divides by zero scales, then discards the quotients
        blocks = gguf.quants.quantize(x.astype(np.float32), gguf.GGMLQuantizationType[name[5:].upper()])
    blocks = blocks.reshape(256, -1)
    scale = np.ascontiguousarray(blocks[:, :kept]).view(f"u{kept}")
    scaling = Scaling.of(name)
    codes = unpack(blocks[:, kept:].reshape(32, -1), scaling.packing, 256, scaling.group)
    agree(codes, scale, quantize(x, name), name)


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_dynamic(kind: str) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    make, types = onnx.helper, onnx.TensorProto
    outputs = [("y", types.UINT8), ("scale", types.FLOAT), ("zero", types.UINT8)]
    graph = make.make_graph(
        [make.make_node("DynamicQuantizeLinear", ["x"], [name for name, _ in outputs])],
        "dynamic",
        [make.make_tensor_value_info("x", types.FLOAT, None)],
        [make.make_tensor_value_info(name, of, None) for name, of in outputs],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, _ = data(kind, "f32")
    codes, scale, zero = session.run(None, {"x": x.astype(np.float32)})
    expected = quantize(x, "u8_affine_onnx")
    agree(codes, np.asarray(scale).view(np.uint32), expected, "u8_affine_onnx")
    assert expected.zero_point == zero


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("zero", [0, 3, -5])
@pytest.mark.parametrize("step", [0.1, 0.5, 1 / 127])
def test_torch_adds_the_zero_point_before_rounding_and_fake_quantize_after(step: float, zero: int) -> None:
    """At ties an odd zero point changes what is even: the two of torch disagree, and each is what it documents."""
    x, tensor = data("ties", "f32")
    element = Format.of("i8")
    scaling = Scaling.of("i8_affine_torch")
    known = given(scaling, Format.of("f32").encode(np.float64(np.float32(step))), element.encode(np.array(float(zero))))
    before = quantize_with(x, known, scaling)
    after = quantize_with(x, known, replace(scaling, zero_before_rounding=False, arithmetic="reciprocal"))
    obtained = torch.quantize_per_tensor(tensor, step, zero, torch.qint8).int_repr().view(torch.uint8).numpy()
    assert np.array_equal(obtained, before.codes)
    fake = torch.fake_quantize_per_tensor_affine(tensor, step, zero, -128, 127).double().numpy()
    assert np.array_equal(fake, dequantize(after, scaling, "f32"))
    assert (before.codes != after.codes).any() == bool(zero % 2)


@pytest.mark.parametrize("zero", [0, 3])
def test_onnxruntime_adds_the_zero_point_after_rounding(zero: int) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    make, types = onnx.helper, onnx.TensorProto
    inputs = [("x", types.FLOAT, None), ("scale", types.FLOAT, []), ("zero", types.UINT8, [])]
    graph = make.make_graph(
        [make.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "static",
        [make.make_tensor_value_info(*value) for value in inputs],
        [make.make_tensor_value_info("y", types.UINT8, None)],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, _ = data("ties", "f32")
    scaling = replace(Scaling.of("u8_affine_onnx"), rule="given")
    scale = np.array(0.1, np.float32)
    known = given(scaling, scale.view(np.uint32), np.array(zero, np.uint8))
    expected = quantize_with(x, known, scaling)
    feed = {"x": x.astype(np.float32), "scale": scale, "zero": np.array(zero, np.uint8)}
    assert np.array_equal(session.run(None, feed)[0], expected.codes)


@pytest.mark.parametrize("kind", [*KINDS, "tiny"])
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8"])
def test_gfloat_mx(name: str, kind: str) -> None:
    """An MX quantizer in float64 that shares nothing with ours: the same values, below the normal range too."""
    gfloat = pytest.importorskip("gfloat")
    formats = pytest.importorskip("gfloat.formats")
    info = getattr(formats, f"format_info_{name}" + ("_e2m1" if name == "mxfp4" else ""))
    for fmt in ("f32", "bf16"):
        x, _ = data(kind, fmt, (8, 64))
        blocks = [gfloat.quantize_block(info, block, gfloat.compute_scale_amax) for block in x.reshape(-1, 32)]
        assert np.array_equal(truth(quantize(x, name, fmt), name).hi, np.stack(blocks).reshape(x.shape))


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4"])
@pytest.mark.parametrize("fmt", ["bf16", "f16"])
def test_ml_dtypes_casts_every_16_bit_number_under_every_scale_alike(name: str, fmt: str) -> None:
    """All 65,536, those above the largest element clipped: ml_dtypes does not saturate in e4m3fn and e5m2."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    scaling = replace(Scaling.of(name), granularity="tensor")
    element = Format.of(scaling.element)
    every = Format.of(fmt).decode(np.arange(1 << 16, dtype=np.uint16))
    x = every[np.isfinite(every)]
    for code in (0, 1, 100, 126, 127, 128, 133, 254):
        scale = float(Format.of("e8m0fnu").decode(np.array(code, np.uint8)))
        obtained = quantize_with(x, given(scaling, np.array(code, np.uint8)), scaling, fmt)
        clipped = np.clip(x / scale, element.lowest, element.max)
        # Exact in f32 but where it is below its range, and then 0.
        cast = clipped.astype(np.float32).astype(getattr(ml_dtypes, ML_DTYPES[scaling.element]))
        assert np.array_equal(obtained.codes, cast.view(np.uint8))


def test_torchao_packs_and_swizzles_alike() -> None:
    kernels = pytest.importorskip("torchao.prototype.mx_formats.kernels")
    utils = pytest.importorskip("torchao.prototype.mx_formats.utils")
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 16, (6, 64)).astype(np.uint8)
    assert np.array_equal(kernels.pack_uint4(torch.from_numpy(codes)).numpy(), pack(codes, "nibbles_low_first"))
    for shape in ((128, 4), (33, 9), (300, 5), (1, 1)):
        scale = rng.integers(0, 256, shape).astype(np.uint8)
        assert np.array_equal(utils.to_blocked(torch.from_numpy(scale)).numpy(), swizzled(scale))


def test_torchao_rceil_rounds_its_logarithm() -> None:
    """The known deviation: an amax just above a power of two times the largest element is given that power of two."""
    x = np.zeros((1, 32))
    x[0, 0] = np.nextafter(np.float32(6 * 2.0**20), np.float32(np.inf))
    _, scale = to_mx(torch.from_numpy(x).float(), "mxfp4_rceil")
    expected = quantize(x, "mxfp4_rceil").scale
    assert expected is not None
    assert (int(scale[0, 0]), int(expected[0, 0])) == (127 + 20, 127 + 21)
