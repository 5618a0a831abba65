"""The scalings in use, as data: one entry a specification or library, and two where they disagree."""

from collections.abc import Iterator
from dataclasses import replace

from lastbit.references.scaling import Scaling

OCP = "OCP Microscaling Formats (MX) 1.0, section 6.3"
MX_TENSOR = "torchao 0.18, prototype/mx_formats/mx_tensor.py, to_mx"
NVFP4_TENSOR = "torchao 0.18, prototype/mx_formats/nvfp4_tensor.py, nvfp4_quantize"
PRIMITIVES = "torchao 0.18, quantization/quant_primitives.py"
GGUF = "gguf 0.19, quants.py"

_PACKING = {"e3m2fn": "six_bit_little_endian", "e2m3fn": "six_bit_little_endian", "e2m1fn": "nibbles_low_first"}


def _mx() -> Iterator[Scaling]:
    """Blocks of 32 with a power of two: the rule of the specification, and the others in use."""
    for name, element, largest in (
        ("mxfp8_e4m3", "e4m3fn", 448.0),
        ("mxfp8_e5m2", "e5m2", 57344.0),
        ("mxfp6_e3m2", "e3m2fn", 28.0),
        ("mxfp6_e2m3", "e2m3fn", 7.5),
        ("mxfp4", "e2m1fn", 6.0),
    ):
        base = Scaling(
            name,
            element,
            f"{OCP}: 2^(floor(log2 amax) - emax), nearest even, saturated",
            granularity="group",
            group=32,
            scale_format="e8m0fnu",
            rule="floor",
            largest=largest,
            arithmetic="exact",
            packing=_PACKING.get(element, "none"),
        )
        yield base
        for rule in ("floor", "ceil", "even", "rceil"):
            yield replace(
                base,
                name=f"{name}_{rule}",
                source=f"{MX_TENSOR}, ScaleCalculationMode.{rule.upper()}",
                rule=rule,
                infinite="largest" if rule == "rceil" else "exponent",
                smallest_divisor=None if rule == "rceil" else 2.0**-126,
                packing="none" if element in ("e3m2fn", "e2m3fn") else base.packing,
            )
    mxint8 = Scaling(
        "mxint8",
        "i8",
        f"{OCP} and 5.3.4: an element is a multiple of 2^-6, emax is 0",
        granularity="group",
        group=32,
        scale_format="e8m0fnu",
        rule="floor",
        largest=1.0,
        arithmetic="exact",
        steps=64,
    )
    yield mxint8
    yield replace(mxint8, name="mxint8_symmetric", source=f"{OCP} and 5.3.4, without -2", lowest=-127.0)


def _nvfp4() -> Iterator[Scaling]:
    """Blocks of 16 with an e4m3 scale, most with an f32 scale of the tensor on top."""
    nvfp4 = Scaling(
        "nvfp4",
        "e2m1fn",
        f"{NVFP4_TENSOR} with per_tensor_scale: scale nearest even, times 1/global/scale",
        granularity="group",
        group=16,
        scale_format="e4m3fn",
        global_scale="f32",
        largest=6.0,
        global_largest=448.0 * 6.0,
        arithmetic="reciprocal",
        smallest_scale=2.0**-6,
        packing="nibbles_low_first",
    )
    yield nvfp4
    yield replace(nvfp4, name="nvfp4_single", source=f"{NVFP4_TENSOR} without per_tensor_scale", global_scale=None)
    # Tensor cores take ue4m3, which has no sign: PTX ISA 8.7, mma with .block_scale.
    unsigned = replace(nvfp4, unsigned_scales=True, arithmetic="divide", smallest_scale=None)
    up = "cuDNN block scale quantize, for tensor cores (ue4m3): scale = round up(amax / 6), x / scale"
    yield replace(unsigned, name="nvfp4_round_up", source=up, scale_rounding="up")
    yield replace(
        unsigned,
        name="nvfp4_divide",
        source="NVFP4 as published (ue4m3): x / (scale * global), each rounded once, no smallest scale but 2^-9",
        smallest_scale=2.0**-9,
    )
    yield replace(
        nvfp4,
        name="nvfp4_four_over_six",
        source="Cook et al., Four Over Six (2025): the better of amax to 6 and to 4, global amax to 256 * 6",
        rule="four_over_six",
        arithmetic="divide",
        global_largest=256.0 * 6.0,
        smallest_scale=2.0**-9,
    )


def _fp8() -> Iterator[Scaling]:
    """e4m3fn with f32 scales."""
    plain = "amax / 448 and x / scale by f32 division (as torchao 0.18 for f32 input), zero groups scaled by 1"
    fp8 = Scaling("fp8_tensor", "e4m3fn", plain, largest=448.0, zero_scale=1.0)
    yield fp8
    yield replace(fp8, name="fp8_row", granularity="row")
    yield replace(fp8, name="fp8_column", granularity="column")
    yield replace(fp8, name="fp8_group128", granularity="group", group=128)
    yield replace(fp8, name="fp8_block128", granularity="block", block=(128, 128))
    torchao = replace(
        fp8,
        name="fp8_tensor_torchao",
        source=f"{PRIMITIVES}, _choose_scale_float8 and _quantize_affine_float8",
        scale_compute=None,
        zero_scale=None,
    )
    yield torchao
    yield replace(torchao, name="fp8_row_torchao", granularity="row")
    deepgemm = replace(
        fp8,
        name="fp8_group128_deepgemm",
        source="DeepGEMM, deep_gemm/utils/math.py, per_token_cast_to_fp8: amax at least 1e-4, times 1 / scale",
        granularity="group",
        group=128,
        arithmetic="reciprocal",
        smallest_amax=1e-4,
        zero_scale=None,
    )
    yield deepgemm
    yield replace(deepgemm, name="fp8_block128_deepgemm", granularity="block", group=0, block=(128, 128))


def _integers() -> Iterator[Scaling]:
    """Integers with f32 scales, symmetric and with a zero point."""
    plain = "amax / 127 and x / scale by f32 division, nearest even, [-127, 127], zero groups scaled by 1"
    i8 = Scaling("i8_tensor", "i8", plain, largest=127.0, lowest=-127.0, zero_scale=1.0)
    yield i8
    yield replace(i8, name="i8_row", granularity="row")
    yield replace(i8, name="i8_column", granularity="column")
    torchao = Scaling(
        "i8_row_torchao",
        "i8",
        f"{PRIMITIVES}, MappingType.SYMMETRIC: amax / 127.5, [-128, 127], times 1 / scale, in the format of x",
        granularity="row",
        scale_format="f32",
        largest=127.5,
        arithmetic="reciprocal",
        compute=None,
        scale_compute=None,
        smallest_scale="input",
    )
    yield torchao
    yield replace(torchao, name="i8_tensor_torchao", granularity="tensor")
    yield replace(
        torchao,
        name="i8_row_bitsandbytes",
        source="bitsandbytes 0.50, backends/default/ops.py, int8_vectorwise_quant: scale amax, x * ((1 / amax) * 127)",
        largest=1.0,
        steps=127,
        compute="f32",
        smallest_scale=None,
        overflow="undefined",
    )
    affine = replace(
        torchao,
        name="i8_affine",
        source=f"{PRIMITIVES}, MappingType.ASYMMETRIC: (max - min) / 255, zero point lowest - round(min / scale)",
        granularity="tensor",
        rule="affine_min_max",
        largest=255.0,
        zero_point="i8",
    )
    yield affine
    yield replace(affine, name="i8_row_affine", granularity="row")
    yield replace(
        affine,
        name="u8_affine_onnx",
        element="u8",
        source="ONNX DynamicQuantizeLinear-11: (max - min) / 255, round(x / scale) + zero point, f32",
        zero_point="u8",
        arithmetic="divide",
        compute="f32",
        scale_compute="f32",
        smallest_scale=None,
        zero_scale=1.0,
    )
    yield replace(
        affine,
        name="i8_affine_torch",
        source="torch 2.13, quantize_per_tensor on x86 (FBGEMM): round(fma(x, 1 / scale, zero point)), scale given",
        rule="given",
        compute="f32",
        arithmetic="fused",
        zero_before_rounding=True,
    )
    for size in (32, 64, 128):
        i4 = replace(
            torchao,
            name=f"i4_group{size}",
            element="i4",
            source=f"{PRIMITIVES}, MappingType.SYMMETRIC: amax / 7.5, [-8, 7], times 1 / scale, in the format of x",
            granularity="group",
            group=size,
            largest=7.5,
            packing="nibbles_low_first",
        )
        yield i4
        zp = replace(
            i4,
            name=f"i4_group{size}_zp",
            source=f"{PRIMITIVES}, MappingType.ASYMMETRIC: (max - min) / 15, zero point -8 - round(min / scale)",
            rule="affine_min_max",
            largest=15.0,
            zero_point="i4",
        )
        yield zp
        u4 = replace(zp, name=f"u4_group{size}", element="u4", zero_point="u4")
        yield u4
        if size == 128:
            yield replace(u4, name="u4")


def _blocks() -> Iterator[Scaling]:
    """NF4, and the blocks of gguf."""
    nf4 = Scaling(
        "nf4",
        "nf4",
        "Dettmers et al., QLoRA (2023): the level nearest to x / amax, blocks of 64",
        granularity="group",
        group=64,
        arithmetic="exact",
        zero_scale=1.0,
        packing="nibbles_high_first",
    )
    yield nf4
    yield replace(
        nf4,
        name="nf4_bitsandbytes",
        source="bitsandbytes 0.50, backends/default/ops.py, quantize_4bit: x * (1 / amax), midpoints in f32",
        arithmetic="reciprocal",
        rounding="thresholds",
        zero_scale=None,
        smallest_divisor=1e-38,
    )
    yield Scaling(
        "gguf_q8_0",
        "i8",
        f"{GGUF}, Q8_0: d = amax / 127 stored as f16, x * (1 / d before that), nearest away",
        granularity="group",
        group=32,
        scale_format="f16",
        largest=127.0,
        arithmetic="reciprocal",
        unrounded_divisor=True,
        zero_codes=True,
        overflow="undefined",
        rounding="nearest-away",
    )
    yield Scaling(
        "gguf_q4_0",
        "u4",
        f"{GGUF}, Q4_0: d = (the first x of magnitude amax) / -8 stored as f16, trunc(x * (1 / d before that) + 8.5)",
        granularity="group",
        group=32,
        scale_format="f16",
        rule="signed_amax",
        largest=-8.0,
        arithmetic="reciprocal",
        unrounded_divisor=True,
        zero_codes=True,
        overflow="undefined",
        rounding="half-up",
        fixed_zero=8.0,
        packing="nibbles_halves",
    )
    yield Scaling(
        "gguf_mxfp4",
        "e2m1fn",
        f"{GGUF}, MXFP4: 2^(floor(log2 amax) - 2), the first nearest code, so ties go towards zero and -0 is 0",
        granularity="group",
        group=32,
        scale_format="e8m0fnu",
        rule="floor",
        largest=6.0,
        arithmetic="exact",
        rounding="nearest-zero",
        negative_zero=False,
        packing="nibbles_halves",
    )


PRESETS = {scaling.name: scaling for family in (_mx, _nvfp4, _fp8, _integers, _blocks) for scaling in family()}
