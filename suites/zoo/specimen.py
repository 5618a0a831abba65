"""FaultClass, Faulty and Variant: what the zoo holds, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

#: The prefix of the name of every kernel of the zoo.
PROVIDER = "zoo"


@dataclass(frozen=True, slots=True)
class FaultClass:
    """One way in which kernels go wrong, as it was met in the field."""

    #: "F001".
    id: str
    #: Ops that it was met in, as people write them: "GEMM, split-K".
    where: str
    #: What the kernel does instead of what it promised.
    mechanism: str
    #: What it takes to see it: shapes, data, settings.
    trigger: str
    #: Where it was met: "aiter#2567, cutlass#423"; "" if it is a behaviour without a report.
    seen: str
    #: Why no kernel of the zoo has it, where no user could observe it under any contract; else "".
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A kernel of the zoo, in one configuration; `build` gives a fresh one, for some remember what they were given."""

    #: Unique in the zoo: "f16_accumulator-bf16".
    name: str
    build: Callable[[], Kernel]

    @property
    def kernel_name(self) -> str:
        """The name of the kernel that `build` gives."""
        return f"{PROVIDER}/{self.name}"


@dataclass(frozen=True, slots=True)
class Faulty(Specimen):
    """A kernel with a fault."""

    #: Id of its FaultClass.
    fault: str = ""
    #: What this one does, in a sentence.
    story: str = ""
    #: Checks of the law of which at least one has to see it.
    checks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Variant(Specimen):
    """A kernel that differs from the plain one and keeps its contract."""

    #: How it differs, in a sentence.
    story: str = ""


def room(kernel: Kernel) -> str:
    """What the kernel is counted under: its op, and of attention its gradients and its packed batches apart."""
    for feature, name in (("gradients", "attention gradients"), ("packed", "packed attention")):
        if kernel.op == "attention" and feature in kernel.features:
            return name
    return kernel.op


def faulty(
    fault: str,
    op: str,
    make: Callable[[], Callable[..., Any]],
    formats: Mapping[str, str],
    contract: Contract,
    checks: tuple[str, ...],
    *,
    name: str,
    story: str,
    **fields: Any,
) -> Faulty:
    """A Faulty of class `fault` whose every build runs a new `make()`, of which at least one of `checks` sees it."""
    build = partial(_built, name, op, make, formats, contract, fields)
    return Faulty(name, build, fault, story, frozenset(checks))


def variant(
    op: str,
    make: Callable[[], Callable[..., Any]],
    formats: Mapping[str, str],
    contract: Contract,
    *,
    name: str,
    story: str,
    **fields: Any,
) -> Variant:
    """A Variant whose every build runs a new `make()`."""
    return Variant(name, partial(_built, name, op, make, formats, contract, fields), story)


def story_of(run: Callable[..., Any]) -> str:
    """The first sentence of a kernel's docstring."""
    return (run.__doc__ or "").strip().partition("\n")[0]


def maker(run: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
    """What makes `run` for a build: a class, or a partial of one, is a kernel with a memory; each build has its own."""
    is_class = isinstance(run.func if isinstance(run, partial) else run, type)
    return run if is_class else lambda: run


def kernel(
    name: str,
    op: str,
    run: Callable[..., Any],
    formats: Mapping[str, str],
    contract: Contract,
    **fields: Any,
) -> Kernel:
    """A kernel of the zoo: of NumPy arrays, on the CPU; `fields` are further fields of Kernel."""
    given: dict[str, Any] = {"framework": "numpy", "devices": ("cpu",), **fields}
    return Kernel(f"{PROVIDER}/{name}", op, run, dict(formats), contract, **given)


def _built(
    name: str,
    op: str,
    make: Callable[[], Callable[..., Any]],
    formats: Mapping[str, str],
    contract: Contract,
    fields: Mapping[str, Any],
) -> Kernel:
    return kernel(name, op, make(), formats, contract, **fields)
