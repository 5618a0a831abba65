"""What a kernel's datasheet says against its contract: promises that the probes found broken."""

from collections.abc import Mapping, Sequence

from lastbit.contract import resolved
from lastbit.discovery import matrix_engine
from lastbit.environment import Environment
from lastbit.kernel import Kernel, formats_text
from lastbit.policy import Known, known
from lastbit.suites.probes.kernel_sheet import KernelSheet, kernel_sheet
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_promises import broken_of_op
from lastbit.suites.probes.op_sheet import PROBES
from lastbit.suites.trials import accumulator_of
from lastbit.verdict import Outcome, Record

#: Terms of the sums that a model's error bound and the contract's are compared over.
LENGTHS = (64, 4096)


def broken(made: KernelSheet, kernel: Kernel, formats: Mapping[str, str], device: str) -> dict[str, str]:
    """The promises of a GEMM's contract that its datasheet contradicts: a sentence by property.

    A model's error bound may not exceed that of the promised accumulator. What a probe could not decide breaks nothing.
    """
    contract = resolved(kernel.contract, dict(formats), matrix_engine(device))
    answers = {answer.property: answer for answer in (*made.sheet.answers, *made.more)}
    found = broken_of_op(answers, kernel, formats, contract)
    if contract.subnormals == "keep":
        found |= {
            name: f"subnormals: keep is promised, but {name} is flushed: {answers[name].evidence}"
            for name in ("input_subnormals", "result_subnormals")
            if name in answers and answers[name].value == "flushed"
        }
    model, promised = made.sheet.model, accumulator_of(contract)
    if model is None or not made.sheet.confirmation.confirmed or contract.input_rounding:
        return found
    worse = [k for k in LENGTHS if model.accumulator.coefficient(k) > promised.coefficient(k)]
    if worse:
        k = worse[-1]
        measured, allowed = model.accumulator.coefficient(k), promised.coefficient(k)
        found["accumulator"] = (
            f"accumulator: sums of {k} terms err by up to {measured:.3g} of their magnitudes, {promised.name} "
            f"promises {allowed:.3g}"
        )
    return found


def broken_promises(kernel: Kernel, formats: Mapping[str, str], device: str) -> dict[str, str]:
    """Probe a kernel of any op that has probes, and hold the answers against its contract: a sentence by property.

    Raises AccessError where the kernel gives no result.
    """
    if kernel.op == "gemm":
        return broken(kernel_sheet(kernel, formats, device), kernel, formats, device)
    answers = {answer.property: answer for answer in PROBES[kernel.op](asker(kernel, formats, device))}
    return broken_of_op(answers, kernel, formats, resolved(kernel.contract, dict(formats), matrix_engine(device)))


def known_as(
    kernel: Kernel, formats: Mapping[str, str], device: str, name: str, findings: Sequence[Known], where: Environment
) -> str:
    """The id of the finding of suites/findings.toml that says so (check "datasheet", case the property), or ""."""
    record = Record(kernel.name, kernel.op, formats_text(formats), device, "datasheet", name, Outcome.LAW_BROKEN)
    return known(record, findings, where)
