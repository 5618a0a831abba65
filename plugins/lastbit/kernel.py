"""Kernel, the description of a function under test, and the registry that `@lastbit.kernel` fills."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from lastbit.contract import Contract
from lastbit.errors import KernelError
from lastbit.scaled_operands import NAMED, SCALED_OPS, filled, product_scalings

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
#: Kinds of devices; PyTorch calls AMD's GPUs "cuda" too.
DEVICES = ("cpu", "cuda")
OPERANDS = {
    "gemm": ("a", "b", "out"),
    "scaled_gemm": ("a", "b", "scale_a", "scale_b", "out"),
    "softmax": ("x", "out"),
    "log_softmax": ("x", "out"),
    "logsumexp": ("x", "out"),
    "attention": ("q", "k", "v", "out"),
    "paged_attention": ("q", "k_cache", "v_cache", "block_table", "seq_lens", "out"),
    "kv_append": ("k", "v", "k_cache", "v_cache", "slots", "out"),
    "cast": ("x", "out"),
    # The kernel's scaling has the others: scaled_operands.operand_names.
    "quantize": (NAMED["quantize"],),
    "dequantize": (NAMED["dequantize"],),
}
#: Operands that are integers of i32 whatever the kernel's formats, which need not list them.
INDICES = ("block_table", "seq_lens", "slots", "cu_seqlens_q", "cu_seqlens_k")
#: Operands whose formats are those of the kernel's scaling.
SCALES = ("scale_a", "scale_b")
#: Ops that sum without multiplying matrices: no matrix engine does it for them.
REDUCTIONS = ("softmax", "log_softmax", "logsumexp")
_FORMATS = """
    f64 f32 tf32 f16 bf16 e4m3fn e4m3fnuz e4m3b11fnuz e5m2 e5m2fnuz e4m3 e3m4 e8m0fnu e3m2fn e2m3fn e2m1fn nf4
    i8 u8 i4 u4 i32 p3109_8p1uf p3109_8p3se p3109_8p3sf p3109_8p4se p3109_8p4sf p3109_4p2sf
"""
FORMATS = frozenset(_FORMATS.split())


#: Formats that are no floating-point numbers: codes, or scales.
_CODES = frozenset({"i8", "u8", "i4", "u4", "i32", "nf4", "e8m0fnu"})
_ATTENTION = """
    scale causal window mask additive_mask causal_mask mask_bias bias softcap sinks gqa dv lse gradients packed
"""
_ROWS = frozenset({"batch", "out"})
#: Optional parts of each op that a kernel may say it implements.
FEATURES = {
    "gemm": frozenset({"batch", "c", "alpha", "beta", "bias", "out"}),
    "scaled_gemm": frozenset({"bias", "out"}),
    "softmax": _ROWS,
    "log_softmax": _ROWS,
    "logsumexp": _ROWS,
    "attention": frozenset(_ATTENTION.split()),
    "paged_attention": frozenset({"causal", "window", "gqa", "scales", "head_scales"}),
    "kv_append": frozenset({"scales", "head_scales", "padding", "inplace"}),
    "quantize": frozenset({"batch", "tails"}),
    "dequantize": frozenset({"batch", "tails"}),
    "cast": frozenset({"out"}),
}
#: Dimensions that an implementation may be tiled in, by op.
TILED = {
    "gemm": ("m", "n", "k"),
    "softmax": ("m", "n"),
    "log_softmax": ("m", "n"),
    "logsumexp": ("m", "n"),
    "attention": ("lq", "lk", "d", "dv"),
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
    #: "inplace"; quantize and dequantize "batch", "tails" (sizes that fill no group or no byte).
    features: frozenset[str] = frozenset()
    #: For quantize and dequantize a Scaling or its name; for scaled_gemm a mapping of operands to them. It is looked at
    #: when the kernel is first judged, and fills in the formats that it decides.
    scaling: Any = None
    #: Largest m*n*k (product of the case's sizes) that this kernel is asked to do, for interpreters and slow formats: a
    #: number, or numbers by output format; None, or a format not named: any.
    limit: int | Mapping[str, int] | None = None
    #: Lowest tier at which it is run: "smoke", "standard", "full".
    tier: str = "smoke"
    #: Block sizes of the implementation by dimension name, for tail cases at tile-1 and tile+1; empty: unknown.
    tile: Mapping[str, int] = field(default_factory=dict)
    #: What sizes must be multiples of, by dimension name: scaled_gemm's cases are rounded up to them.
    multiple: Mapping[str, int] = field(default_factory=dict)

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
        if not served(self.framework):
            raise KernelError(f"kernel {self.name}: {UNSERVED.format(self.framework)}")
        if not callable(self.run):
            raise KernelError(f"kernel {self.name}: run is {self.run!r}, expected a function")
        if not self._given_formats:
            raise KernelError(f"kernel {self.name}: formats is empty; give at least one mapping of operand to format")
        if self.op in (*SCALED_OPS, "scaled_gemm") and self.scaling is None:
            raise KernelError(f"kernel {self.name}: {self.op} needs a scaling; give a Scaling or the name of one")
        if self.op not in (*SCALED_OPS, "scaled_gemm") and self.scaling is not None:
            raise KernelError(
                f"kernel {self.name}: scaling is {self.scaling!r}, but {self.op} has none; leave it out, "
                f"or make the op one of {', '.join((*SCALED_OPS, 'scaled_gemm'))}"
            )
        if self.op == "scaled_gemm" and isinstance(self.scaling, Mapping) and set(self.scaling) - {"a", "b"}:
            raise KernelError(
                f"kernel {self.name}: scaling names {', '.join(map(repr, self.scaling))}, expected 'a' and 'b'; "
                "one that is not named is plain"
            )
        if self.op not in (*SCALED_OPS, "kv_append") and (self.contract.scale_rule or self.contract.scale_arithmetic):
            raise KernelError(
                f"kernel {self.name}: the contract has scale_rule {self.contract.scale_rule!r} and scale_arithmetic "
                f"{self.contract.scale_arithmetic!r}, but {self.op} makes no scales; leave them None"
            )
        if self.op == "quantize" and self.contract.output_rounding == "to-odd":
            raise KernelError(
                f"kernel {self.name}: output_rounding is 'to-odd', which no quantizer is judged by; "
                "declare nearest-even, another rounding of Scaling, or stochastic"
            )
        if self.op != "cast" and self.contract.overflow in ("wrap", "any"):
            raise KernelError(f"kernel {self.name}: overflow {self.contract.overflow!r} is for casts, not {self.op}")
        for formats in self._given_formats:
            _check_formats(self.name, self.op, formats)
        known = FEATURES.get(self.op)
        if isinstance(self.features, str) or (known is not None and not set(self.features) <= known):
            raise KernelError(
                f"kernel {self.name}: features is {self.features!r}, expected a set of {', '.join(sorted(known or ()))}"
            )
        object.__setattr__(self, "features", frozenset(self.features))
        if isinstance(self.devices, str) or not self.devices or not set(self.devices) <= set(DEVICES):
            raise KernelError(
                f"kernel {self.name}: devices is {self.devices!r}, expected a tuple of {' and '.join(DEVICES)}, or one"
            )
        _check_limit(self)
        _check_tile(self)

    @property
    def format_sets(self) -> tuple[dict[str, str], ...]:
        """Every mapping of operands to formats that is tested, with those that the scaling decides.

        Raises KernelError where the scaling is unknown or does not fit them.
        """
        if self.op in SCALED_OPS:
            return tuple(filled(self, formats) for formats in self._given_formats)
        if self.op == "scaled_gemm":
            product_scalings(self)
        return self._given_formats

    @property
    def _given_formats(self) -> tuple[dict[str, str], ...]:
        if isinstance(self.formats, Mapping):
            return (dict(self.formats),)
        return tuple(dict(formats) for formats in self.formats)


#: What to do about a framework that lastbit has no border to.
UNSERVED = (
    "{0} is not supported by this version of lastbit; wrap the kernel so that it takes and returns NumPy "
    "arrays (numpy.from_dlpack, numpy.asarray) and give framework='numpy'"
)


def served(framework: str) -> bool:
    """Whether this version of lastbit has a border to the framework, installed or not."""
    return find_spec(f"lastbit.{framework}_arrays") is not None


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


def _check_limit(kernel: Kernel) -> None:
    limits = kernel.limit if isinstance(kernel.limit, Mapping) else {"": kernel.limit}
    for fmt, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            of = f" of {fmt}" if fmt else ""
            raise KernelError(
                f"kernel {kernel.name}: limit{of} is {limit!r}, expected a whole number of at least 1, or None for any"
            )
    if unknown := sorted(set(limits) - FORMATS - {""}):
        raise KernelError(f"kernel {kernel.name}: limit names {', '.join(unknown)}, expected formats of out")


def _check_tile(kernel: Kernel) -> None:
    known = TILED.get(kernel.op)
    for name, size in kernel.tile.items():
        if known is not None and name not in known:
            raise KernelError(f"kernel {kernel.name}: tile names {name!r}, expected some of {', '.join(known)}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 2:
            raise KernelError(
                f"kernel {kernel.name}: tile of {name} is {size!r}, expected a whole number of at least 2"
            )


def _check_formats(name: str, op: str, formats: Mapping[str, str]) -> None:
    wanted: Iterable[str] = OPERANDS.get(op, ())
    missing = [operand for operand in wanted if operand not in formats and operand not in (*INDICES, *SCALES)]
    if missing:
        raise KernelError(
            f"kernel {name}: formats {dict(formats)} lack {', '.join(missing)}; {op} has {', '.join(wanted)}"
        )
    unknown = sorted({fmt for fmt in formats.values() if fmt not in FORMATS})
    if unknown:
        raise KernelError(f"kernel {name}: unknown format {', '.join(unknown)}; known: {', '.join(sorted(FORMATS))}")
    plain = NAMED.get(op, "")
    if formats.get(plain) in _CODES:
        raise KernelError(
            f"kernel {name}: {plain} of {op} is {formats[plain]}, expected a floating-point format, one of "
            f"{', '.join(sorted(FORMATS - _CODES))}"
        )
