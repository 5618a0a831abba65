"""What vLLM's Triton files import of the rest of vLLM, as far as it answers questions about the device."""

import logging
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from lastbit.providers.serving_files import load, module

#: vllm.v1.kv_cache_interface.KVQuantMode, whose members of one scale a tensor or none the kernels here are called with.
NONE, PER_TENSOR = 0, 1


class Platform:
    """What the files ask of vllm.platforms.current_platform, answered by PyTorch."""

    def __init__(self) -> None:
        import torch

        self._cuda = torch.cuda.is_available() and torch.version.hip is None
        self._rocm = torch.cuda.is_available() and torch.version.hip is not None

    def is_rocm(self) -> bool:
        """Whether PyTorch finds an AMD GPU."""
        return self._rocm

    def is_xpu(self) -> bool:
        """No Intel GPU is judged."""
        return False

    def is_cuda_alike(self) -> bool:
        """Whether PyTorch finds a GPU of NVIDIA or AMD."""
        return self._cuda or self._rocm

    def get_device_capability(self) -> tuple[int, int] | None:
        """CUDA compute capability; None without a GPU."""
        import torch

        return torch.cuda.get_device_capability() if self._cuda else None

    def has_device_capability(self, capability: int) -> bool:
        """Whether the GPU has at least this capability: 89 for 8.9."""
        found = self.get_device_capability()
        return found is not None and found[0] * 10 + found[1] >= capability

    def is_device_capability_family(self, capability: int) -> bool:
        """Whether the GPU's major capability is that of 100: 10."""
        found = self.get_device_capability()
        return found is not None and found[0] == capability // 10

    def fp8_dtype(self) -> Any:
        """The FP8 format of the platform."""
        import torch

        return torch.float8_e4m3fn


@cache
def loaded(folder: Path, name: str) -> ModuleType:
    """A file of vLLM's Triton kernels, the rest of vLLM left out.

    Raises what importing the file raises: ImportError where it imports what it did not.
    """
    import torch
    import triton
    import triton.language as tl

    finest = torch.finfo(torch.float8_e4m3fn)
    given = (
        module("vllm.platforms", current_platform=Platform()),
        module("vllm.triton_utils", tl=tl, triton=triton),
        module("vllm.logger", init_logger=logging.getLogger),
        module("vllm.envs", VLLM_BATCH_INVARIANT=False),
        module("vllm.v1.kv_cache_interface", KVQuantMode=_modes()),
        module("vllm.utils.torch_utils", is_quantized_kv_cache=lambda dtype: dtype.startswith("fp8")),
        module(
            "vllm.model_executor.layers.quantization.utils.quant_utils",
            FP8_DTYPE=torch.float8_e4m3fn,
            get_fp8_min_max=lambda: (finest.min, finest.max),
        ),
    )
    found = load(folder, name, {one.__name__: one for one in given})
    if not torch.cuda.is_available():
        # The launch asks a GPU for its capability, to choose a tile; the newest choice is taken.
        without = SimpleNamespace(get_device_capability=lambda device=None: (9, 0))
        found.__dict__["torch"] = module("torch", **{**vars(torch), "cuda": without})
    return found


def _modes() -> Any:
    """KVQuantMode as the files compare with it."""
    from enum import IntEnum

    names = "NONE FP8_PER_TENSOR INT8_PER_TOKEN_HEAD FP8_PER_TOKEN_HEAD INT4_PER_TOKEN_HEAD"
    return IntEnum("KVQuantMode", names, start=0)
