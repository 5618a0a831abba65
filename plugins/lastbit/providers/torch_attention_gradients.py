"""PyTorch's attention with its backward pass: a forward function whose gradients autograd takes."""

from collections.abc import Callable
from typing import Any


def differentiable(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, which with `grad_out` returns the gradients of sum(grad_out * out) by q, k and v after its own results.

    Without it nothing is recorded. Raises what autograd does, NotImplementedError where a backend has no backward pass.
    """

    def both(q: Any, k: Any, v: Any, *, grad_out: Any = None, **keywords: Any) -> Any:
        import torch

        if grad_out is None:
            return run(q, k, v, **keywords)
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (q, k, v)]
            result = run(*leaves, **keywords)
            found = result if isinstance(result, tuple) else (result,)
            try:
                gradients = torch.autograd.grad(found[0], leaves, grad_out)
            except RuntimeError as error:
                if "derivative" in str(error) and "not implemented" in str(error):
                    raise NotImplementedError(str(error)) from error
                raise
        return (*(one.detach() for one in found), *gradients)

    return both
