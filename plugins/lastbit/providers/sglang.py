"""SGLang's Triton kernels, found without importing SGLang."""

from functools import cache, partial

from lastbit.errors import LastbitError
from lastbit.kernel import Kernel
from lastbit.providers import sglang_triton
from lastbit.providers.serving import package, settle, unready
from lastbit.providers.triton import ready


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed SGLang that can be run here.

    Raises ImportError when PyTorch or SGLang is not installed.
    """
    return _settled()[0]


def absent() -> dict[str, str]:
    """Why a kernel of the installed SGLang cannot be run here, by its name.

    Raises ImportError when PyTorch or SGLang is not installed.
    """
    return _settled()[1]


@cache
def _settled() -> tuple[tuple[Kernel, ...], dict[str, str]]:
    import torch  # noqa: F401

    owner = package("sglang", ("sglang",))
    try:
        offers = sglang_triton.offers(ready())
    except (ImportError, LastbitError) as error:
        return (), unready(sglang_triton.offers(compiled=False), error)
    return settle(offers, partial(sglang_triton.find, owner))
