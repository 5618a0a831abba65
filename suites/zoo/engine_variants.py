"""The matrix engines of every generation, simulated, each under the contract that says how it adds."""

from dataclasses import replace
from functools import partial

from lastbit.kernel import Kernel
from lastbit.providers.simulated import kernels
from lastbit.references.accumulators import Accumulator
from lastbit.suites.zoo.gemm_parts import LIMIT
from lastbit.suites.zoo.specimen import PROVIDER, Variant


def _built(name: str, engine: Kernel) -> Kernel:
    return replace(engine, name=f"{PROVIDER}/{name}", limit=LIMIT, tier="smoke")


def _variant(engine: Kernel) -> Variant:
    device = engine.name.rpartition("/")[2]
    name = f"gemm-engine-{device}"
    return Variant(
        name, partial(_built, name, engine), f"Products are added as {device} does it: {engine.contract.text()}."
    )


def _is_device(engine: Kernel) -> bool:
    """Whether it adds as a matrix engine does; plain sums are among gemm_variants."""
    model = engine.contract.accumulator
    return isinstance(model, Accumulator) and (model.engine in ("fused", "cdna3") or model.flush)


#: Formats that a device adds as it does the other one of their width, which stands for both.
ALIKE = ("a100-bf16", "cdna2-bf16", "h100-bf16", "h100-e5m2")
#: Every simulated engine.
VARIANTS: tuple[Variant, ...] = tuple(
    _variant(engine) for engine in kernels() if _is_device(engine) and engine.name.rpartition("/")[2] not in ALIKE
)
