"""What sources say of a GEMM kernel's sums, to stand beside what was measured."""

from collections.abc import Mapping

from lastbit.contract import resolved
from lastbit.discovery import matrix_engine
from lastbit.kernel import Kernel
from lastbit.references.accumulator_table import ENGINES, Engine
from lastbit.suites.probes.answer import Value
from lastbit.suites.trials import accumulator_of


def claims(kernel: Kernel, formats: Mapping[str, str], device: str) -> tuple[dict[str, Value], str]:
    """Published values by property, and where: of the device's matrix engine, else of the kernel's own contract.

    Nothing where the engine is unknown and the contract names no source.
    """
    engine = ENGINES.get((matrix_engine(device), formats["a"]))
    if engine is not None:
        return _of_engine(engine), engine.source
    contract = resolved(kernel.contract, dict(formats))
    promised = accumulator_of(contract)
    if not contract.source or promised.engine in ("exact", "integer"):
        return {}, ""
    return {"precision": promised.precision, "output_rounding": contract.output_rounding}, contract.source


def _of_engine(engine: Engine) -> dict[str, Value]:
    subnormals = "flushed" if engine.flush else "kept"
    found: dict[str, Value] = {
        "terms": engine.terms,
        "precision": engine.precision,
        "rounding": engine.rounding,
        "input_subnormals": subnormals,
    }
    return found if engine.engine == "chain" else found | {"fraction_bits": engine.fraction_bits}
