"""Hugging Face Transformers: its attention functions, and its KV caches as a model fills and reads them."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import KernelError
from lastbit.kernel import Kernel
from lastbit.providers.torch_attention import CPU_FLASH, EXP_U20, FLEX_MATH, SDPA, formats
from lastbit.providers.transformers_attention import eager, eager_softcap, flex, flex_compiled, sdpa
from lastbit.providers.transformers_caches import CACHES, PHASES, through_cache

#: First version whose attention functions, mask functions and caches are called as here.
OLDEST = 5
LLAMA = "transformers/models/llama/modeling_llama.py: eager_attention_forward"
GEMMA2 = "transformers/models/gemma2/modeling_gemma2.py: eager_attention_forward"
INTEGRATIONS = "transformers/integrations"
MASKS = "transformers/masking_utils.py"
CACHE_UTILS = "transformers/cache_utils.py"

FORMATS = ("f64", "f32", "f16", "bf16")
#: Formats of which the smoke tier judges every kernel that it has time for.
SMOKE = ("f32", "bf16")
SMOKE_PHASES = {("prefill", "f32"), ("chunked", "f32"), ("decode", "f32"), ("decode", "bf16")}
EAGER = frozenset({"scale", "causal", "window", "additive_mask", "bias", "gqa", "dv"})
SOFTCAP = frozenset({"scale", "causal", "additive_mask", "softcap", "gqa", "dv"})
SDPA_PARTS = EAGER | {"mask", "causal_mask"}
FLEX_PARTS = EAGER | {"mask", "causal_mask", "mask_bias", "softcap"}
CACHED = frozenset({"scale", "causal", "gqa"})
#: A case without "causal" is run as one sequence for each query, and prefill works through all of a sequence's queries.
CACHE_LIMIT = 2_000_000


def kernels() -> tuple[Kernel, ...]:
    """The attention functions and the caches of the installed Transformers, which is not imported for that.

    Raises ImportError when Transformers or PyTorch is not installed, KernelError when Transformers is too old.
    """
    for library in ("transformers", "torch"):
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}")
    _check_version()
    return (*_functions(), *_caches())


def _check_version() -> None:
    try:
        found = version("transformers")
    except PackageNotFoundError:  # a source tree on the path: its version is not known
        return
    if int(found.partition(".")[0]) < OLDEST:
        raise KernelError(f"transformers {found} is installed; lastbit knows the functions of {OLDEST}.0 and newer")


def _functions() -> tuple[Kernel, ...]:
    found = []
    for fmt in FORMATS:
        found += [
            _kernel("eager", fmt, eager, EAGER, _eager(fmt, LLAMA)),
            _kernel("eager-softcap", fmt, eager_softcap, SOFTCAP, _eager(fmt, GEMMA2)),
            _kernel("sdpa", fmt, sdpa, SDPA_PARTS, _sdpa(fmt)),
            _kernel("flex", fmt, flex, FLEX_PARTS, _flex(fmt)),
        ]
        if fmt != "f64":  # PyTorch does not compile it
            found.append(_kernel("flex-compiled", fmt, flex_compiled, FLEX_PARTS, _flex(fmt), tier="full"))
    return tuple(found)


def _caches() -> tuple[Kernel, ...]:
    return tuple(
        _kernel(
            f"{cache}_{phase}",
            fmt,
            through_cache(cache, phase, "sdpa"),
            CACHED | ({"window"} if kind.sliding else set()),
            _sdpa(fmt, f"{CACHE_UTILS}: {kind.layer}"),
            tier="smoke" if (phase, fmt) in SMOKE_PHASES else "standard",
            limit=CACHE_LIMIT,
        )
        for cache, kind in CACHES.items()
        for phase in PHASES
        for fmt in FORMATS
    )


def _eager(fmt: str, source: str) -> Contract:
    """Scores in the format of q, softmax in f32 whatever that is, and probabilities in the format of q again."""
    return Contract(
        accumulator="f32",
        scores=_narrow(fmt),
        probabilities=_narrow(fmt),
        masked_row="nan",
        masked_keys="computed",
        source=f"{source}: softmax(dtype=torch.float32).to(query.dtype); {MASKS}: eager_mask",
    )


def _sdpa(fmt: str, *places: str) -> Contract:
    """scaled_dot_product_attention, whose causal alignment the masks made bottom-right."""
    sources = (
        f"{INTEGRATIONS}/sdpa_attention.py",
        *places,
        f"{MASKS}: sdpa_mask",
        SDPA,
        f"{CPU_FLASH}: qk_reduced_data",
    )
    return Contract(masked_keys="computed", probabilities=_narrow(fmt), exp_ulp=EXP_U20, source="; ".join(sources))


def _flex(fmt: str) -> Contract:
    source = f"{INTEGRATIONS}/flex_attention.py; {MASKS}: flex_attention_mask; {FLEX_MATH}"
    return Contract(masked_keys="computed", probabilities=_narrow(fmt), source=source)


def _narrow(fmt: str) -> str | None:
    return fmt if fmt in ("f16", "bf16") else None


def _kernel(
    name: str,
    fmt: str,
    run: Callable[..., Any],
    features: frozenset[str],
    contract: Contract,
    *,
    tier: str = "",
    limit: int | None = None,
) -> Kernel:
    return Kernel(
        name=f"transformers/{name}{'' if fmt == 'f32' else '-' + fmt}",
        op="attention",
        run=run,
        formats=formats(fmt),
        contract=contract,
        features=features,
        tier=tier or ("smoke" if fmt in SMOKE else "standard"),
        limit=limit,
        tile={"lq": 32, "lk": 32},
    )
