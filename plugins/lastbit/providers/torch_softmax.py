"""PyTorch's softmax, log_softmax and logsumexp over the last axis, eager, compiled, and with another result type."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

DOCS = "docs.pytorch.org/docs/stable/generated/torch"
NUMERICS = "docs.pytorch.org/docs/stable/notes/numerical_accuracy.html: batched or slice computations"
FORMATS = tuple({"x": fmt, "out": fmt} for fmt in ("f64", "f32", "f16", "bf16"))
#: More than the kinds of operands (formats; one row, one column) that functions are compiled for; PyTorch's own limit
#: is 8, beyond which it runs a function uncompiled.
RECOMPILES = 256


def kernels() -> tuple[Kernel, ...]:
    """The softmax family of the installed PyTorch.

    Raises ImportError when PyTorch is not installed.
    """
    import torch

    return (
        _kernel("torch/softmax", "softmax", _last(torch.softmax)),
        _kernel("torch/softmax-f32", "softmax", _wide, tuple({"x": fmt, "out": "f32"} for fmt in ("f16", "bf16"))),
        _kernel("torch/softmax-out", "softmax", _softmax_out, features={"batch", "out"}),
        _kernel("torch/softmax-compiled", "softmax", _compiled("softmax"), tier="standard"),
        _kernel("torch/log_softmax", "log_softmax", _last(torch.log_softmax)),
        _kernel("torch/log_softmax-compiled", "log_softmax", _compiled("log_softmax"), tier="standard"),
        _kernel("torch/logsumexp", "logsumexp", _last(torch.logsumexp)),
        _kernel("torch/logsumexp-compiled", "logsumexp", _compiled("logsumexp"), tier="standard"),
    )


def _kernel(
    name: str,
    op: str,
    run: Callable[..., Any],
    formats: tuple[dict[str, str], ...] = FORMATS,
    features: set[str] | frozenset[str] = frozenset({"batch"}),
    tier: str = "smoke",
) -> Kernel:
    # A row of -inf is 0/0 in the documented formula exp(x_i) / sum_j exp(x_j).
    contract = Contract(masked_row="nan", source=f"{DOCS}.{op}.html; {NUMERICS}")
    return Kernel(
        name=name, op=op, run=run, formats=formats, contract=contract, features=frozenset(features), tier=tier
    )


def _last(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` over the last axis."""

    def run(x: Any) -> Any:
        return function(x, -1)

    return run


def _wide(x: Any) -> Any:
    import torch

    return torch.softmax(x, -1, dtype=torch.float32)


def _softmax_out(x: Any, *, out: Any = None) -> Any:
    import torch

    return torch.softmax(x, -1, out=out)


def _compiled(name: str) -> Callable[..., Any]:
    """The function of that name, compiled on the first call for contiguous rows of any number and length."""

    def run(x: Any) -> Any:
        import torch._dynamo

        # Strides and dimensions would each be compiled for anew, for seconds: they are not what is looked at here.
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        with torch._dynamo.config.patch(recompile_limit=RECOMPILES):
            found = _compile(name)(rows)
        return found.reshape(x.shape[:-1] if name == "logsumexp" else x.shape)

    return run


@cache
def _compile(name: str) -> Callable[..., Any]:
    import torch

    compiled: Callable[..., Any] = torch.compile(_last(getattr(torch, name)), dynamic=True)
    return compiled
