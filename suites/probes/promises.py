"""What a kernel's datasheet says against its contract: promises that the probes found broken."""

from collections.abc import Mapping

from lastbit.contract import resolved
from lastbit.discovery import matrix_engine
from lastbit.kernel import Kernel
from lastbit.suites.probes.answer import Answer
from lastbit.suites.probes.kernel_sheet import KernelSheet
from lastbit.suites.trials import accumulator_of

#: Terms of the sums that a model's error bound and the contract's are compared over.
LENGTHS = (64, 4096)


def broken(made: KernelSheet, kernel: Kernel, formats: Mapping[str, str], device: str) -> list[str]:
    """The promises of the kernel's contract that its datasheet contradicts, a sentence each.

    A model's error bound may not exceed that of the promised accumulator. What a probe could not decide breaks nothing.
    """
    contract = resolved(kernel.contract, dict(formats), matrix_engine(device))
    answers = {answer.property: answer for answer in (*made.sheet.answers, *made.more)}
    found = []
    model, promised = made.sheet.model, accumulator_of(contract)
    if model is not None and made.sheet.confirmation.confirmed and not contract.input_rounding:
        worse = [k for k in LENGTHS if model.accumulator.coefficient(k) > promised.coefficient(k) * (1 + 2**-20)]
        if worse:
            k = worse[-1]
            measured, allowed = model.accumulator.coefficient(k), promised.coefficient(k)
            found.append(
                f"accumulator: sums of {k} terms err by up to {measured:.3g} of their magnitudes, {promised.name} "
                f"promises {allowed:.3g}"
            )
    if contract.subnormals == "keep":
        found += _against(answers, ("input_subnormals", "result_subnormals"), "kept", "subnormals: keep is promised")
    if contract.deterministic:
        found += _against(answers, ("repeatable",), True, "deterministic is promised")
    if contract.batch_invariant:
        found += _against(answers, ("row_invariance",), "holds", "batch_invariant is promised")
    return found


def _against(answers: Mapping[str, Answer], names: tuple[str, ...], promised: object, text: str) -> list[str]:
    return [
        f"{text}, but {name} is {answer.value}: {answer.evidence}"
        for name in names
        if (answer := answers.get(name)) is not None and answer.value not in (None, promised)
    ]
