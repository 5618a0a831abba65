"""gguf's quantizers in NumPy: blocks of bytes that hold a scale and codes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

from lastbit.kernel import Kernel
from lastbit.providers.quantizers import Family, dequantizer, quantizer, settled

if TYPE_CHECKING:
    from lastbit.references.scaling import Scaling

SOURCE = "gguf 0.19, gguf/quants.py (github.com/ggml-org/llama.cpp, gguf-py)"


@dataclass(frozen=True, slots=True)
class Block:
    """How gguf stores a block: so many bytes of scales, of the format, before the codes (or after them)."""

    scaling: "Scaling"
    scale_bytes: int
    #: Bytes of the codes to codes as lastbit holds them, where these differ.
    unpack: Callable[[Any], Any] | None = None
    scale_last: bool = False
    #: Numbers that one block of bytes holds, where it has several scales.
    whole: int = 0
    quantizes: bool = True
    dequantizes: bool = True


def kernels() -> tuple[Kernel, ...]:
    """The quantizers and dequantizers of the installed gguf whose blocks have one scale for each group of codes.

    Raises ImportError when it is not installed.
    """
    return _settled()[0]


def absent() -> dict[str, str]:
    """The types that the installed gguf does not have, by their kernels' names.

    Raises ImportError when it is not installed.
    """
    return _settled()[1]


@cache
def _settled() -> tuple[tuple[Kernel, ...], dict[str, str]]:
    import gguf  # noqa: F401

    families = (
        Family(f"gguf/*-{kind}", "gguf.quants", (kind, "quantize", "dequantize"), partial(_kernels, kind, block))
        for kind, block in _blocks().items()
    )
    return settled(families, f"gguf {metadata.version('gguf')}")


def _blocks() -> dict[str, Block]:
    from lastbit.references.scaling import Scaling

    q4, q8, mxfp4 = (Scaling.of(f"gguf_{name}") for name in ("q4_0", "q8_0", "mxfp4"))
    q5 = replace(
        q4,
        name="gguf_q5_0",
        element="u8",
        highest=31.0,
        largest=-16.0,
        fixed_zero=16.0,
        packing="none",
        source="gguf 0.19, quants.py, Q5_0: as Q4_0 with 5 bits",
    )
    tq2 = replace(
        q8,
        name="gguf_tq2_0",
        element="u8",
        highest=2.0,
        group=256,
        largest=1.0,
        fixed_zero=1.0,
        source="gguf 0.19, quants.py, TQ2_0: d = amax stored as f16, -1, 0 or 1, nearest away",
    )
    nvfp4 = replace(
        Scaling.of("nvfp4_single"),
        name="gguf_nvfp4",
        unsigned_scales=True,
        packing="nibbles_halves",
        negative_zero=False,
        source="gguf 0.19, quants.py, NVFP4: four scales of 16 codes each, ue4m3, read without the sign bit",
    )
    return {
        "Q4_0": Block(q4, 2),
        "Q5_0": Block(q5, 2, unpack=_five_bits, dequantizes=False),
        "Q8_0": Block(q8, 2),
        "TQ2_0": Block(tq2, 2, unpack=_two_bits, scale_last=True, dequantizes=False),
        "MXFP4": Block(mxfp4, 1),
        "NVFP4": Block(nvfp4, 4, whole=64, quantizes=False),
    }


def _kernels(kind: str, block: Block) -> Iterator[Kernel]:
    source = f"{SOURCE}, class {kind}"
    more: dict[str, Any] = {"framework": "numpy", "tile": {"n": block.whole} if block.whole else {}}
    if block.quantizes:
        yield quantizer(f"gguf/quantize-{kind}", _quantizer(kind, block), block.scaling, ("f32",), source, **more)
    if block.dequantizes:
        yield dequantizer(f"gguf/dequantize-{kind}", _dequantizer(kind, block), block.scaling, "f32", source, **more)


def _quantizer(kind: str, block: Block) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

        from lastbit.numpy_arrays import dtype

        numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        with np.errstate(all="ignore"):
            data = quants.quantize(x, GGMLQuantizationType[kind])
        blocks = data.reshape(*x.shape[:-1], x.shape[-1] // numbers, size)
        first, second = np.split(blocks, [size - block.scale_bytes if block.scale_last else block.scale_bytes], axis=-1)
        scale, codes = (second, first) if block.scale_last else (first, second)
        if block.unpack is not None:
            codes = block.unpack(codes)
        held = np.ascontiguousarray(scale).view(dtype(block.scaling.scale_format or "f32"))
        return _rows(codes).view(_held(block)), _rows(held)

    return run


def _dequantizer(kind: str, block: Block) -> Callable[..., Any]:
    def run(codes: Any, scale: Any) -> Any:
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

        size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]
        count = codes.shape[-1] // (size - block.scale_bytes)
        scales = np.ascontiguousarray(scale).view(np.uint8).reshape(*codes.shape[:-1], count, block.scale_bytes)
        bodies = np.ascontiguousarray(codes).view(np.uint8).reshape(*codes.shape[:-1], count, size - block.scale_bytes)
        data = np.concatenate([scales, bodies], axis=-1).reshape(*codes.shape[:-1], count * size)
        with np.errstate(all="ignore"):
            return quants.dequantize(data, GGMLQuantizationType[kind])

    return run


def _rows(blocks: Any) -> Any:
    """(.., blocks, numbers) as (.., blocks * numbers)."""
    import numpy as np

    return np.ascontiguousarray(blocks).reshape(*blocks.shape[:-2], blocks.shape[-2] * blocks.shape[-1])


def _held(block: Block) -> Any:
    """The NumPy type of the array of codes."""
    import numpy as np

    return np.int8 if block.scaling.element == "i8" else np.uint8


def _five_bits(data: Any) -> Any:
    """Four bytes of fifth bits, then the other four of numbers i and i + 16 in byte i."""
    import numpy as np

    top = np.unpackbits(np.ascontiguousarray(data[..., :4]), axis=-1, bitorder="little")
    low = np.concatenate([data[..., 4:] & 15, data[..., 4:] >> 4], axis=-1)
    return low | top << 4


def _two_bits(data: Any) -> Any:
    """Of 128 numbers, i, i + 32, i + 64 and i + 96 in byte i."""
    import numpy as np

    parts = data.reshape(*data.shape[:-1], 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    return (parts & 3).reshape(*data.shape[:-1], 256)
