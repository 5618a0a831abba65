"""GEMM kernels that attack whoever calls them, and trials of them; at module level, so that workers can import them."""

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lastbit.case import Case, Trial
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.data import Operand

Array = Any
CASE = Case("any", (("m", 4), ("n", 5), ("k", 6)))
#: FE_UPWARD, FE_DOWNWARD and FE_TOWARDZERO of x86-64's fenv.h.
X86_ROUNDING = {"up": 0x800, "down": 0x400, "toward zero": 0xC00}


def trial(
    run: Callable[..., Any],
    format: str = "f32",
    *,
    framework: str = "torch",
    features: Iterable[str] = (),
    name: str = "",
    out: str = "",
    **settings: Any,
) -> Trial:
    formats = {"a": format, "b": format, "out": out or format}
    known = name or f"hostile/{getattr(run, '__name__', 'partial').replace('<lambda>', 'lambda')}-{id(run)}"
    kernel = Kernel(known, "gemm", run, formats, framework=framework, features=frozenset(features))
    return Trial(kernel, formats, Contract(), "cpu", CASE, settings=settings)


def operands(
    format: str = "f32", m: int = 4, n: int = 5, k: int = 6, batch: int = 0, seed: int = 0
) -> dict[str, Operand]:
    """Small integers, which every format here holds exactly and every kernel sums exactly."""
    rng = np.random.default_rng(seed)
    lead = (batch,) if batch else ()
    return {
        "a": Operand.of(rng.integers(0, 3, (*lead, m, k)).astype(float), format),
        "b": Operand.of(rng.integers(0, 3, (*lead, k, n)).astype(float), format),
    }


def product(given: dict[str, Operand]) -> "np.ndarray[Any, Any]":
    return given["a"].values @ given["b"].values


def honest(a: Array, b: Array) -> Array:
    return a @ b


# What they return -------------------------------------------------------------------------------------------------


def returns_none(a: Array, b: Array) -> Array:
    a @ b


def returns_list(a: Array, b: Array) -> Array:
    return (a @ b).tolist()


def returns_numpy(a: Array, b: Array) -> Array:
    return (a @ b).numpy()


def returns_f64(a: Array, b: Array) -> Array:
    return (a @ b).double()


def returns_transposed_shape(a: Array, b: Array) -> Array:
    return (a @ b).T


def returns_extra_axis(a: Array, b: Array) -> Array:
    return (a @ b)[None]


def returns_meta(a: Array, b: Array) -> Array:
    return (a @ b).to("meta")


def returns_sparse(a: Array, b: Array) -> Array:
    return (a @ b).to_sparse()


class Lazy(torch.Tensor):
    """A tensor that could compute whenever it is looked at."""


def returns_subclass(a: Array, b: Array) -> Array:
    return (a @ b).as_subclass(Lazy)


def returns_parameter(a: Array, b: Array) -> Array:
    return torch.nn.Parameter(a @ b)


def returns_view_of_a(a: Array, b: Array) -> Array:
    return a[:, : b.shape[1]]


class Buffered:
    """Returns one buffer of its own, call after call."""

    def __init__(self) -> None:
        self.buffer: Array = None

    def __call__(self, a: Array, b: Array) -> Array:
        if self.buffer is None:
            self.buffer = torch.empty(a.shape[0], b.shape[1])
        return torch.mm(a, b, out=self.buffer)


class Yesterdays:
    """Answers every call with the first answer."""

    def __init__(self) -> None:
        self.known: Array = None

    def __call__(self, a: Array, b: Array) -> Array:
        if self.known is None:
            self.known = a @ b
        return self.known


class CachedByPointer:
    """Remembers results by the addresses of its operands."""

    def __init__(self) -> None:
        self.known: dict[Any, Array] = {}

    def __call__(self, a: Array, b: Array) -> Array:
        key = (a.data_ptr(), b.data_ptr())
        if key not in self.known:
            self.known[key] = a @ b
        return self.known[key].clone()


def unwritten(a: Array, b: Array) -> Array:
    """F091: uninitialised memory, in the hope that it holds somebody's result."""
    shape = (a.shape[0], b.shape[1])
    return np.empty(shape, a.dtype) if isinstance(a, np.ndarray) else torch.empty(shape, dtype=a.dtype)


# What they touch --------------------------------------------------------------------------------------------------


def zeroes_operands(a: Array, b: Array) -> Array:
    """F094: zeros are right if the truth is computed from the operands afterwards."""
    a.zero_()
    b.zero_()
    return a @ b


def _byte(x: Array, offset: int) -> Any:
    address = x.data_ptr() if isinstance(x, torch.Tensor) else x.ctypes.data
    return ctypes.c_ubyte.from_address(address + offset)


def writes_before(a: Array, b: Array) -> Array:
    _byte(a, -1).value ^= 1
    return a @ b


def writes_after(a: Array, b: Array) -> Array:
    _byte(b, b.size * b.itemsize if isinstance(b, np.ndarray) else b.nbytes).value ^= 1
    return a @ b


def transposes_in_place(a: Array, b: Array) -> Array:
    result = a @ b
    a.t_()
    return result


def shrinks_storage(a: Array, b: Array) -> Array:
    result = a @ b
    a.untyped_storage().resize_(0)
    return result


def reads_before(a: Array, b: Array) -> Array:
    """Takes row i - 1 for row i; the first lies outside."""
    shifted = a.as_strided(a.shape, a.stride(), a.storage_offset() - a.stride(0))
    return shifted @ b


def ignores_strides(a: Array, b: Array) -> Array:
    """F023: takes whatever it is given as row-major."""
    dense = [x.as_strided(x.shape, (x.shape[1], 1), x.storage_offset()) for x in (a, b)]
    return dense[0] @ dense[1]


def changes_earlier_result() -> Callable[[Array, Array], Array]:
    last: list[Array] = []

    def run(a: Array, b: Array) -> Array:
        if last:
            last[0].add_(1)
        last[:] = [a @ b]
        return last[0]

    return run


# How they end -----------------------------------------------------------------------------------------------------


def raises(a: Array, b: Array) -> Array:
    raise ValueError("no such tile")


def exits(a: Array, b: Array) -> Array:
    sys.exit(3)


def says_unsupported(a: Array, b: Array) -> Array:
    raise NotImplementedError("f32 needs compute capability 9")


def dispatcher_unsupported(a: Array, b: Array) -> Array:
    raise RuntimeError("\"addmm\" not implemented for 'Float'")


def interrupted(a: Array, b: Array) -> Array:
    raise KeyboardInterrupt


def speaks(a: Array, b: Array) -> Array:
    print("tile 3")
    print("slow path", file=sys.stderr)
    warnings.warn("deprecated", FutureWarning, stacklevel=1)
    return a @ b


# What they leave changed ------------------------------------------------------------------------------------------


def sets_default_dtype(a: Array, b: Array) -> Array:
    torch.set_default_dtype(torch.float64)
    return a @ b


def sets_threads(a: Array, b: Array) -> Array:
    torch.set_num_threads(torch.get_num_threads() + 1)
    return a @ b


def flushes(a: Array, b: Array) -> Array:
    torch.set_flush_denormal(True)
    return a @ b


def rounds_up(a: Array, b: Array) -> Array:
    result = a @ b
    ctypes.CDLL("libm.so.6").fesetround(X86_ROUNDING["up"])
    return result


def allows_tf32(a: Array, b: Array) -> Array:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    return a @ b


def allows_reduction(a: Array, b: Array) -> Array:
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction ^= True
    return a @ b


def disables_gradients(a: Array, b: Array) -> Array:
    torch._C._set_grad_enabled(False)
    return a @ b


def silences_numpy(a: Array, b: Array) -> Array:
    np.seterr(all="ignore")
    return a @ b


def coarsens_mpmath(a: Array, b: Array) -> Array:
    mpmath.mp.prec = 10
    return a @ b


def leaves_autocast(a: Array, b: Array) -> Array:
    torch.set_autocast_enabled("cpu", True)
    return a @ b


class Answering(TorchDispatchMode):
    """Could compute the result when somebody looks at it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def leaves_dispatch_mode(a: Array, b: Array) -> Array:
    result = a @ b
    Answering().__enter__()
    return result


def leaves_default_device(a: Array, b: Array) -> Array:
    result = a @ b
    torch.set_default_device("meta")
    return result


def moves_about(a: Array, b: Array) -> Array:
    os.chdir("/")
    os.environ["LASTBIT_HOSTILE"] = "1"
    os.environ.pop("LASTBIT_PRESENT", None)
    return a @ b


def draws(a: Array, b: Array) -> Array:
    random.random()
    np.random.random()
    torch.rand(1)
    return a @ b


def leaves_thread(a: Array, b: Array) -> Array:
    threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()
    return a @ b


# Results into given memory ----------------------------------------------------------------------------------------


def into(a: Array, b: Array, *, out: Array) -> Array:
    out.copy_(a @ b)
    return out


def into_silently(a: Array, b: Array, *, out: Array) -> None:
    out.copy_(a @ b)


def beside(a: Array, b: Array, *, out: Array) -> Array:
    out.copy_(a @ b)
    return a @ b


def beyond(a: Array, b: Array, *, out: Array) -> Array:
    out.as_strided((out.shape[0] + 1, out.shape[1]), out.stride()).copy_(torch.cat([a @ b, a[:1] @ b]))
    return out


def poison_beyond(a: Array, b: Array, *, out: Array) -> Array:
    """Writes one element too many, and what: the poison that it read one element beyond an operand."""
    out.copy_(a @ b)
    out.as_strided((1,), (1,), out.storage_offset() + out.numel()).copy_(
        a.as_strided((1,), (1,), a.storage_offset() + a.numel())
    )
    return out


def partly(a: Array, b: Array, *, out: Array) -> Array:
    out[:, :-1].copy_((a @ b)[:, :-1])
    return out


def ignores_out_strides(a: Array, b: Array, *, out: Array) -> Array:
    out.as_strided(out.shape, (out.shape[1], 1)).copy_(a @ b)
    return out


# Ways to die (in a worker only) -----------------------------------------------------------------------------------


def segfaults(a: Array, b: Array) -> Array:
    ctypes.string_at(0)


def aborts(a: Array, b: Array) -> Array:
    os.abort()


def leaves(a: Array, b: Array) -> Array:
    os._exit(3)


def leaves_in_peace(a: Array, b: Array) -> Array:
    os._exit(0)


def hangs(a: Array, b: Array) -> Array:
    time.sleep(1000)


def ignores_termination(a: Array, b: Array) -> Array:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1000)


def tells_process(a: Array, b: Array) -> Array:
    print(os.getpid())
    return a @ b


def dies_on_zeros(a: Array, b: Array) -> Array:
    if not a.any():
        os.kill(os.getpid(), signal.SIGKILL)
    return a @ b


def writes_to_every_descriptor(a: Array, b: Array) -> Array:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\x00\x00\x00\x04oops")
    return a @ b
