"""Ask, how a probe puts a question to a kernel of any op: exact operands in, bit patterns out, through the harness."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit import ambient
from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.harness import Obtained, call
from lastbit.kernel import Kernel
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.suites.probes.access import AccessError, Spent

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ask:
    """A kernel in declared formats on a device; called with operands it counts what it cost."""

    kernel: Kernel
    formats: Mapping[str, str]
    device: str
    spent: Spent = field(default_factory=Spent)

    def __call__(self, operands: Mapping[str, Operand], scalars: Mapping[str, Any] | None = None) -> Obtained:
        """What the kernel returns for `operands`.

        Raises AccessError where it gives no result.
        """
        self.spent.calls += 1
        contract = resolved(self.kernel.contract, dict(self.formats))
        trial = Trial(self.kernel, self.formats, contract, self.device, Case("probe", ()))
        got = call(trial, operands, scalars=scalars)
        if got.fault:
            raise AccessError(f"{self.kernel.name}: {got.fault.outcome.value}: {got.fault.reason}")
        return got


def asker(kernel: Kernel, formats: Mapping[str, str], device: str) -> Ask:
    """The access to a kernel.

    Raises AccessError where this thread flushes subnormal numbers: then no probe could tell whether the kernel does.
    """
    if not all(ambient.floating_point()):
        raise AccessError(
            "this thread flushes subnormal numbers, or rounds another way; set its mode inside the kernel"
        )
    return Ask(kernel, formats, device)


def exact(values: Array, fmt: str) -> Operand:
    """The operand with these values.

    Raises AccessError where one is no number of the format: a probe may not ask what it did not mean to.
    """
    operand = Operand.of(values, fmt)
    if not np.array_equal(operand.values, values, equal_nan=True):
        raise AccessError(f"a probe's numbers are not of the format {fmt}")
    return operand


def stepped(fmt: Format, x: Array, steps: int | NDArray[np.int64]) -> Array:
    """The numbers so many places of `fmt` above positive numbers x of it."""
    if fmt.kind == "integer":
        return np.asarray(x + steps, np.float64)
    codes = fmt.encode(x).astype(np.int64) + steps
    return fmt.decode(np.clip(codes, 0, fmt.max_code).astype(fmt.code_dtype))
