"""What the Triton kernels of serving libraries share: formats by mode, contracts, limits, and a dense prefill."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.serving import Entry, Offer
from lastbit.providers.serving_layout import starts

FLOATS = ("f32", "f16", "bf16")
#: Why no kernel of bf16 is judged where Triton interprets (FINDINGS.md, F3 and F4).
NO_BF16 = "needs device (Triton's interpreter does not compute in bf16)"
#: Largest product of a paged case's sizes (b, hq, lq, d, len) that is interpreted, from a tier on: a page of a head
#: takes a millisecond.
PAGED_LIMITS = {"smoke": 2_000, "standard": 40_000}
#: The same of a dense case (batch, hq, hkv, lq, lk, d, dv).
DENSE_LIMIT = 1_200_000
#: Triton's exp of f32 is ex2.approx, of 2 ulp, on the scaled argument; NumPy's, where interpreted, of up to 4.
EXP_ULP = 4.0


def contract(fmt: str, source: str, *, cast: bool = True) -> Contract:
    """Sums in f32, P cast to the format of V (`cast`), masked places of a tile multiplied by a zero."""
    narrow = cast and fmt != "f32"
    return Contract(probabilities=fmt if narrow else None, exp_ulp=EXP_ULP, masked_keys="computed", source=source)


def paged_offers(
    name: str,
    run: Callable[..., Any],
    entries: tuple[Entry, ...],
    source: str,
    compiled: bool,
    *,
    features: Iterable[str] = (),
    cast: bool = True,
    tier: str = "standard",
) -> list[Offer]:
    """A paged attention kernel, one a format, for P is cast to the format of V; that of f32 from `tier` on."""
    return [
        Offer(
            Kernel(
                name=_named(name, fmt),
                op="paged_attention",
                run=run,
                formats={"q": fmt, "k_cache": fmt, "v_cache": fmt, "out": fmt},
                contract=contract(fmt, source, cast=cast),
                features=frozenset({"gqa", *features}),
                **_place(compiled, tier if fmt == "f32" else "standard", PAGED_LIMITS),
            ),
            entries,
            _needed(compiled, fmt),
        )
        for fmt in FLOATS
    ]


def dense_offers(
    name: str, run: Callable[..., Any], entry: Entry, source: str, compiled: bool, features: Iterable[str] = ()
) -> list[Offer]:
    """A dense attention kernel, one a format."""
    return [
        Offer(
            Kernel(
                name=_named(name, fmt),
                op="attention",
                run=run,
                formats={"q": fmt, "k": fmt, "v": fmt, "out": fmt},
                contract=contract(fmt, source),
                features=frozenset({"scale", "causal", "gqa", *features}),
                tile={"lq": 32, "lk": 32},
                **_place(compiled, "smoke" if fmt == "f32" else "standard", dict.fromkeys(PAGED_LIMITS, DENSE_LIMIT)),
            ),
            (entry,),
            _needed(compiled, fmt),
        )
        for fmt in FLOATS
    ]


def append_offer(name: str, run: Callable[..., Any], entry: Entry, source: str, compiled: bool) -> Offer:
    """A KV append kernel; caches of FP8 only where it is compiled, for the interpreter's casts are wrong (F5)."""
    narrow = (("bf16", "e4m3fn"), ("f16", "e4m3fn"), ("f32", "e4m3fn")) if compiled else ()
    pairs = (*((fmt, fmt) for fmt in FLOATS), *narrow)
    kernel = Kernel(
        name=name,
        op="kv_append",
        run=run,
        formats=[{"k": x, "v": x, "k_cache": cache, "v_cache": cache, "out": cache} for x, cache in pairs],
        contract=Contract(overflow="saturate", scale_arithmetic="divide", source=source),
        features=frozenset({"padding", "inplace"} | ({"scales"} if compiled else set())),
        devices=("cuda",) if compiled else ("cpu",),
    )
    return Offer(kernel, (entry,))


def prefilled(launch: Callable[..., Any], q: Any, k: Any, v: Any) -> Any:
    """What `launch(q, k, v, out, begin, lengths, longest)` writes, for queries that are the last tokens of their keys.

    These kernels have as many queries as keys: rows of zeros stand before the queries, and their results are dropped.
    Raises NotImplementedError where there are more queries than keys.
    """
    import torch

    (b, hq, lq, d), lk = q.shape, k.shape[2]
    if lq > lk:
        raise NotImplementedError("the kernel's queries are tokens of their sequence: there are no more than keys")
    tokens = [
        x.transpose(1, 2).flatten(0, 1).contiguous() for x in (torch.nn.functional.pad(q, (0, 0, lk - lq, 0)), k, v)
    ]
    out = torch.empty((b * lk, hq, d), dtype=q.dtype, device=q.device)
    lengths = torch.full((b,), lk, dtype=torch.int32, device=q.device)
    launch(*tokens, out, starts(b, lk, q.device), lengths, lk)
    return out.unflatten(0, (b, lk))[:, lk - lq :].transpose(1, 2).contiguous()


def _named(name: str, fmt: str) -> str:
    return name if fmt == "f32" else f"{name}-{fmt}"


def _place(compiled: bool, tier: str, limits: Mapping[str, int]) -> dict[str, Any]:
    if compiled:
        return {"devices": ("cuda",), "limit": None, "tier": "smoke"}
    return {"devices": ("cpu",), "limit": limits[tier], "tier": tier}


def _needed(compiled: bool, fmt: str) -> str:
    return NO_BF16 if fmt == "bf16" and not compiled else ""
