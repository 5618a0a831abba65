"""Kernel, the description of a function under test, and the registry that `@lastbit.kernel` fills."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import KernelError

OPS = (
    "gemm",
    "scaled_gemm",
    "softmax",
    "log_softmax",
    "logsumexp",
    "attention",
    "paged_attention",
    "kv_append",
    "quantize",
    "dequantize",
    "cast",
)
FRAMEWORKS = ("torch", "numpy", "jax")
OPERANDS = {
    "gemm": ("a", "b", "out"),
    "softmax": ("x", "out"),
    "log_softmax": ("x", "out"),
    "logsumexp": ("x", "out"),
    "attention": ("q", "k", "v", "out"),
    "paged_attention": ("q", "k_cache", "v_cache", "block_table", "seq_lens", "out"),
    "kv_append": ("k", "v", "k_cache", "v_cache", "slots", "out"),
}
#: Operands that are integers of i32 whatever the kernel's formats, which need not list them.
INDICES = ("block_table", "seq_lens", "slots", "cu_seqlens_q", "cu_seqlens_k")
#: Ops that sum without multiplying matrices: no matrix engine does it for them.
REDUCTIONS = ("softmax", "log_softmax", "logsumexp")
_FORMATS = """
    f64 f32 tf32 f16 bf16 e4m3fn e4m3fnuz e4m3b11fnuz e5m2 e5m2fnuz e4m3 e3m4 e8m0fnu e3m2fn e2m3fn e2m1fn nf4
    i8 u8 i4 u4 i32 p3109_8p1uf p3109_8p3se p3109_8p3sf p3109_8p4se p3109_8p4sf p3109_4p2sf
"""
FORMATS = frozenset(_FORMATS.split())


_ATTENTION = """
    scale causal window mask additive_mask causal_mask mask_bias bias softcap sinks gqa dv lse gradients packed
"""
_ROWS = frozenset({"batch", "out"})
#: Optional parts of each op that a kernel may say it implements.
FEATURES = {
    "gemm": frozenset({"batch", "c", "alpha", "beta", "bias", "out"}),
    "softmax": _ROWS,
    "log_softmax": _ROWS,
    "logsumexp": _ROWS,
    "attention": frozenset(_ATTENTION.split()),
    "paged_attention": frozenset({"causal", "window", "gqa", "scales", "head_scales"}),
    "kv_append": frozenset({"scales", "head_scales", "padding", "inplace"}),
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function under test and what it promises.

    `run` takes and returns what the README lists for `op`: for gemm `run(a, b)` with a (.., m, k) and
    b (.., k, n), and keyword-only `c`, `alpha`, `beta`, `bias` where `features` names them; it returns (.., m, n).

    Raises KernelError, naming the field, when a field's value is not one that lastbit knows.
    """

    #: "provider/kernel", unique.
    name: str
    op: str
    run: Callable[..., Any]
    #: Operand and "out" formats by name, or several such mappings: every one is tested.
    formats: Any
    contract: Contract = field(default_factory=Contract)
    #: What `run` takes and returns: "torch", "numpy" or "jax".
    framework: str = "torch"
    devices: tuple[str, ...] = ("cpu", "cuda")
    #: Optional parts of the op that it implements: gemm knows "batch", "c", "alpha", "beta", "bias"; attention "gqa",
    #: "scale", "causal", "window", "mask", "additive_mask", "bias", "softcap", "sinks", "lse" (in formats["lse"]),
    #: "gradients" (with `grad_out` it returns dq, dk and dv too), "packed" (`cu_seqlens_q`, `cu_seqlens_k`);
    #: paged_attention "gqa", "causal", "window", "scales", "head_scales"; kv_append "scales", "head_scales", "padding",
    #: "inplace".
    features: frozenset[str] = frozenset()
    #: For quantized ops: a Scaling or its name.
    scaling: Any = None
    #: Largest m*n*k (product of the case's sizes) that this kernel is asked to do, for interpreters and slow formats: a
    #: number, or numbers by output format; None, or a format not named: any.
    limit: int | Mapping[str, int] | None = None
    #: Lowest tier at which it is run: "smoke", "standard", "full".
    tier: str = "smoke"
    #: Block sizes of the implementation by dimension name, for tail cases at tile-1 and tile+1; empty: unknown.
    tile: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or self.name.strip() != self.name or any(c.isspace() for c in self.name):
            raise KernelError(
                f"kernel name {self.name!r}: a name is not empty and has no white space; use provider/kernel"
            )
        if self.op not in OPS:
            raise KernelError(f"kernel {self.name}: op is {self.op!r}, expected one of {', '.join(OPS)}")
        if self.framework not in FRAMEWORKS:
            raise KernelError(
                f"kernel {self.name}: framework is {self.framework!r}, expected one of {', '.join(FRAMEWORKS)}"
            )
        if not callable(self.run):
            raise KernelError(f"kernel {self.name}: run is {self.run!r}, expected a function")
        if not self.format_sets:
            raise KernelError(f"kernel {self.name}: formats is empty; give at least one mapping of operand to format")
        for formats in self.format_sets:
            _check_formats(self.name, self.op, formats)
        known = FEATURES.get(self.op)
        if isinstance(self.features, str) or (known is not None and not set(self.features) <= known):
            raise KernelError(
                f"kernel {self.name}: features is {self.features!r}, expected a set of {', '.join(sorted(known or ()))}"
            )
        object.__setattr__(self, "features", frozenset(self.features))

    @property
    def format_sets(self) -> tuple[dict[str, str], ...]:
        """Every mapping of operands to formats that is tested."""
        if isinstance(self.formats, Mapping):
            return (dict(self.formats),)
        return tuple(dict(formats) for formats in self.formats)


def limit_of(kernel: Kernel, formats: Mapping[str, str]) -> int | None:
    """Largest product of sizes that the kernel is asked to do with these formats, or None."""
    if kernel.limit is None or isinstance(kernel.limit, int):
        return kernel.limit
    return kernel.limit.get(formats["out"])


def formats_text(formats: Mapping[str, str]) -> str:
    """`{"a": "bf16", "b": "bf16", "out": "f32"}` as "a:bf16 b:bf16 out:f32"."""
    return " ".join(f"{name}:{fmt}" for name, fmt in formats.items())


REGISTRY: dict[str, Kernel] = {}


def register(*kernels: Kernel) -> None:
    """Add kernels to the registry that every run looks at.

    Raises KernelError when a different kernel of the same name is there already.
    """
    for kernel in kernels:
        known = REGISTRY.get(kernel.name)
        if known is not None and _origin(known) != _origin(kernel):
            raise KernelError(
                f"kernel {kernel.name}: {_origin(known)} and {_origin(kernel)} both have this name; rename one"
            )
        REGISTRY[kernel.name] = kernel


def kernel(op: str, *, name: str | None = None, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as a kernel of `op`; `fields` are those of Kernel.

    The name defaults to `<module>/<function>`; the function is returned unchanged.
    """

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        module = run.__module__.rpartition(".")[2]
        register(Kernel(name=name or f"{module}/{run.__name__}", op=op, run=run, **fields))
        return run

    return decorate


def _origin(kernel: Kernel) -> str:
    """Where the function was written; the same file imported twice gives the same origin."""
    code = getattr(kernel.run, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(kernel.run)


def _check_formats(name: str, op: str, formats: Mapping[str, str]) -> None:
    wanted: Iterable[str] = OPERANDS.get(op, ())
    missing = [operand for operand in wanted if operand not in formats and operand not in INDICES]
    if missing:
        raise KernelError(
            f"kernel {name}: formats {dict(formats)} lack {', '.join(missing)}; {op} has {', '.join(wanted)}"
        )
    unknown = sorted({fmt for fmt in formats.values() if fmt not in FORMATS})
    if unknown:
        raise KernelError(f"kernel {name}: unknown format {', '.join(unknown)}; known: {', '.join(sorted(FORMATS))}")
