"""PyTorch's attention: scaled_dot_product_attention by backend, and flex_attention, with what their pages promise."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.torch_attention_gradients import differentiable

SDPA = "docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html"
FLEX = "docs.pytorch.org/docs/stable/nn.attention.flex_attention.html"
CPU_FLASH = "aten/src/ATen/native/cpu/FlashAttentionKernel.cpp"
FLEX_MATH = "torch/_higher_order_ops/flex_attention.py: math_attention"
#: Ulps of f32 by which the exp of the CPU's flash attention may be off, as its name exp_u20 says.
EXP_U20 = 20.0

WIDE = ("f64", "f32")
NARROW = ("f16", "bf16")
#: Parts of attention that every backend of scaled_dot_product_attention has.
COMMON = frozenset({"scale", "causal", "mask", "additive_mask", "bias", "gqa", "gradients"})
FLEXIBLE = frozenset(
    {"scale", "causal", "window", "mask", "causal_mask", "bias", "softcap", "gqa", "dv", "lse", "gradients"}
)
#: Each combination of options is compiled anew, which takes seconds: they are run in tier full.
COMPILED = FLEXIBLE - {"lse", "gradients"}


def kernels() -> tuple[Kernel, ...]:
    """The attention functions of the installed PyTorch.

    Raises ImportError when PyTorch is not installed.
    """
    from torch.nn.attention import SDPBackend

    plain, math = _sdpa(None), _sdpa(SDPBackend.MATH)
    flash = _sdpa(SDPBackend.FLASH_ATTENTION)
    return (
        _kernel("torch/sdpa", plain, WIDE, COMMON | {"dv"}, _flash(None)),
        *(_kernel(f"torch/sdpa-{fmt}", plain, (fmt,), COMMON | {"dv"}, _flash(fmt)) for fmt in NARROW),
        _kernel("torch/sdpa-math", math, (*WIDE, *NARROW), COMMON | {"dv"}, MATH),
        _kernel("torch/sdpa-flash", flash, WIDE, COMMON, _flash(None), devices=("cpu",)),
        *(_kernel(f"torch/sdpa-flash-{fmt}", flash, (fmt,), COMMON, _flash(fmt)) for fmt in NARROW),
        *(_backend(name, fmt) for name in ("efficient", "cudnn") for fmt in NARROW),
        _kernel("torch/flex", _flex, WIDE, FLEXIBLE, _flexible(None)),
        *(_kernel(f"torch/flex-{fmt}", _flex, (fmt,), FLEXIBLE, _flexible(fmt)) for fmt in NARROW),
        _kernel("torch/flex-compiled", _flex_compiled, WIDE[1:], COMPILED, _flexible(None), tier="full"),
        *(
            _kernel(f"torch/flex-compiled-{fmt}", _flex_compiled, (fmt,), COMPILED, _flexible(fmt), tier="full")
            for fmt in NARROW
        ),
    )


#: The page aligns is_causal "upper left"; its reference code adds -inf to a score and multiplies every value by its
#: probability, so that NaN among masked keys may come through.
MATH = Contract(causal_alignment="top-left", masked_keys="computed", source=f"{SDPA}: is_causal, reference code")


def _flash(fmt: str | None) -> Contract:
    """The CPU's flash attention: probabilities in the operands' 16-bit format, and an exp of its own."""
    return Contract(
        causal_alignment="top-left",
        masked_keys="computed",
        probabilities=fmt,
        head_gradients=fmt,
        exp_ulp=EXP_U20,
        source=f"{SDPA}: is_causal; {CPU_FLASH}: qk_reduced_data, exp_u20",
    )


def _flexible(fmt: str | None) -> Contract:
    """flex_attention: probabilities in the operands' format, causal by a mask_mod of our own."""
    return Contract(
        masked_keys="computed", probabilities=fmt, head_gradients=fmt, source=f"{FLEX}: mask_mod; {FLEX_MATH}"
    )


def formats(fmt: str, *, lse: bool = False) -> dict[str, str]:
    """The formats of an attention whose operands and result have one format, and its log-sum-exp f32 or f64."""
    one = {"q": fmt, "k": fmt, "v": fmt, "out": fmt}
    return one | {"lse": "f64" if fmt == "f64" else "f32"} if lse else one


def _kernel(
    name: str,
    run: Callable[..., Any],
    names: tuple[str, ...],
    features: frozenset[str] | set[str],
    contract: Contract,
    *,
    devices: tuple[str, ...] = ("cpu", "cuda"),
    tier: str = "smoke",
) -> Kernel:
    return Kernel(
        name=name,
        op="attention",
        run=differentiable(run) if "gradients" in features else run,
        formats=tuple(formats(fmt, lse="lse" in features) for fmt in names),
        contract=contract,
        features=frozenset(features),
        devices=devices,
        tier=tier,
        tile={"lq": 32, "lk": 32},
    )


def _backend(name: str, fmt: str) -> Kernel:
    """A backend that only a GPU has."""
    from torch.nn.attention import SDPBackend

    chosen = {"efficient": SDPBackend.EFFICIENT_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}[name]
    contract = Contract(causal_alignment="top-left", masked_keys="computed", probabilities=fmt, source=SDPA)
    features = COMMON - {"gqa"}
    return _kernel(f"torch/sdpa-{name}-{fmt}", _sdpa(chosen), (fmt,), features, contract, devices=("cuda",))


def _sdpa(backend: Any) -> Callable[..., Any]:
    """scaled_dot_product_attention as PyTorch dispatches it, or by one backend alone."""

    def run(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
        from torch.nn.attention import sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention

        chosen = _arguments(keywords)
        if q.shape[1] != k.shape[1]:
            chosen["enable_gqa"] = True
        if backend is None:
            return scaled_dot_product_attention(q, k, v, **chosen)
        try:
            with sdpa_kernel([backend]):
                return scaled_dot_product_attention(q, k, v, **chosen)
        except RuntimeError as error:
            if "No available kernel" in str(error):
                raise NotImplementedError(f"{backend} does not take these operands") from error
            raise

    return run


def _arguments(keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords of scaled_dot_product_attention: one mask, boolean or added to the scores."""
    mask, bias = keywords.get("mask"), keywords.get("bias")
    return {
        "attn_mask": bias if mask is None else mask,
        "is_causal": bool(keywords.get("causal", False)),
        "scale": keywords.get("scale"),
    }


def _flex(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    from torch.nn.attention import flex_attention as module

    # Uncompiled, it still traces itself anew for each shape; PyTorch's switch for debugging runs the same code at once.
    switch = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"
    before = getattr(module, switch, False)
    try:
        setattr(module, switch, True)
        chosen = _flexed(q, k, keywords)
        out, aux = module.flex_attention(q, k, v, return_aux=module.AuxRequest(lse=True), **chosen)
        return out, aux.lse
    finally:
        setattr(module, switch, before)


def _flex_compiled(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """Without the log-sum-exp, which the compiler does not support on the CPU."""
    import torch

    # One compilation for each case: beyond its limit PyTorch would run the next ones uncompiled.
    with torch._dynamo.config.patch(recompile_limit=100_000, accumulated_recompile_limit=100_000):
        return _compile()(q, k, v, **_flexed(q, k, keywords))


@cache
def _compile() -> Callable[..., Any]:
    """flex_attention compiled whole and for one shape at a time; on the first call, for importing it takes seconds."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=False, fullgraph=True)
    return compiled


def _flexed(q: Any, k: Any, keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords of flex_attention."""
    return {
        "score_mod": _score_mod(keywords.get("softcap"), keywords.get("bias")),
        "block_mask": _block_mask(q, k, keywords),
        "scale": keywords.get("scale"),
        "enable_gqa": q.shape[1] != k.shape[1],
    }


def _score_mod(softcap: float | None, bias: Any) -> Callable[..., Any] | None:
    """The cap on the scaled score, then the bias."""
    import torch

    if softcap is None and bias is None:
        return None

    def modify(score: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
        if softcap is not None:
            score = softcap * torch.tanh(score / softcap)
        return score if bias is None else score + bias[0, h, i, j]

    return modify


def _block_mask(q: Any, k: Any, keywords: dict[str, Any]) -> Any:
    """Causal and window along the bottom-right diagonal, and the boolean mask, as one mask_mod."""
    from torch.nn.attention.flex_attention import create_block_mask

    causal, window, mask = keywords.get("causal", False), keywords.get("window"), keywords.get("mask")
    if not causal and window is None and mask is None:
        return None
    lq, lk = q.shape[2], k.shape[2]
    if mask is not None:
        mask = mask.expand(q.shape[0], q.shape[1], lq, lk)

    def keep(b: Any, h: Any, i: Any, j: Any) -> Any:
        kept = j < lk
        place = i + (lk - lq)
        if causal:
            kept = kept & (j <= place)
        for side, beyond in zip(window or (), (place - j, j - place), strict=False):
            kept = kept & (beyond <= side) if side >= 0 else kept
        return kept if mask is None else kept & mask[b, h, i, j]

    batch, heads = (None, None) if mask is None else q.shape[:2]
    return create_block_mask(keep, batch, heads, lq, lk, device=str(q.device))
