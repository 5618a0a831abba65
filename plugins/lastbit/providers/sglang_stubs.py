"""What SGLang's Triton files import of the rest of SGLang, as far as it answers questions about the device."""

from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from lastbit.providers.serving_files import load, module

#: sglang.srt.environ: switches that the files read, at the defaults they are published with; all are for AMD GPUs.
SWITCHES = (
    "SGLANG_TRITON_DECODE_ATTN_STATIC_KV_SPLITS",
    "SGLANG_MLA_DECODE_TUNE",
    "SGLANG_TRITON_FP8_PREFILL_ATTN",
    "SGLANG_TRITON_COMPACT_EXTEND_ATTENTION",
)


@cache
def loaded(folder: Path, name: str) -> ModuleType:
    """A file of SGLang's Triton kernels, the rest of SGLang left out: importing it would patch Transformers.

    Raises what importing the file raises: ImportError where it imports what it did not.
    """
    import torch
    import triton.language  # noqa: F401

    cuda = torch.cuda.is_available() and torch.version.hip is None
    switches = SimpleNamespace(**{name: SimpleNamespace(get=_off) for name in SWITCHES})
    questions: dict[str, Any] = {
        "is_cuda": lambda: cuda,
        "is_hip": lambda: torch.cuda.is_available() and not cuda,
        "is_gfx95_supported": _off,
        "is_gfx1250_supported": _off,
        "get_device_core_count": _cores,
    }
    given = (module("sglang.srt.environ", envs=switches), module("sglang.srt.utils", **questions))
    return load(folder, name, {one.__name__: one for one in given})


def _off() -> bool:
    return False


def _cores(device: int = 0) -> int:
    import torch

    return int(torch.cuda.get_device_properties(device).multi_processor_count) if torch.cuda.is_available() else 0
