"""torchao's quantizers on the CPU: MX, NVFP4, float8 and integers, as far as the installed version has them."""

from functools import cache

from lastbit.kernel import Kernel
from lastbit.providers import torchao_blocks, torchao_integers
from lastbit.providers.quantizers import Family, settled

MX = "torchao.prototype.mx_formats"
PRIMITIVES = "torchao.quantization.quant_primitives"
FAMILIES = (
    Family("torchao/*-mx*", f"{MX}.mx_tensor", ("to_mx", "to_dtype", "ScaleCalculationMode"), torchao_blocks.mx),
    Family("torchao/*-nvfp4*", f"{MX}.nvfp4_tensor", ("NVFP4Tensor", "per_tensor_amax_to_scale"), torchao_blocks.nvfp4),
    Family(
        "torchao/*-[iu]*",
        PRIMITIVES,
        ("choose_qparams_affine", "quantize_affine", "dequantize_affine", "MappingType"),
        torchao_integers.integers,
    ),
    Family(
        "torchao/*-fp8*",
        PRIMITIVES,
        ("_choose_scale_float8", "_quantize_affine_float8", "_dequantize_affine_float8"),
        torchao_integers.float8,
    ),
)


def kernels() -> tuple[Kernel, ...]:
    """The quantizers and dequantizers of the installed torchao.

    Raises ImportError when it is not installed.
    """
    return _settled()[0]


def absent() -> dict[str, str]:
    """What the installed torchao no longer has, by the names of the kernels that need it.

    Raises ImportError when it is not installed.
    """
    return _settled()[1]


@cache
def _settled() -> tuple[tuple[Kernel, ...], dict[str, str]]:
    import torchao

    return settled(FAMILIES, f"torchao {getattr(torchao, '__version__', '')}")
