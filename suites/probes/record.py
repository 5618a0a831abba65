"""A datasheet as plain data: what is stored, printed and compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lastbit.kernel import Kernel
from lastbit.suites.probes import trees
from lastbit.suites.probes.access import Spent
from lastbit.suites.probes.answer import Answer
from lastbit.suites.probes.claims import claims
from lastbit.suites.probes.kernel_sheet import KernelSheet, kernel_sheet
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_sheet import PROBES
from lastbit.suites.probes.sheet import Sheet


def as_json(kernel: str, device: str, sheet: Sheet, more: tuple[Answer, ...] = ()) -> dict[str, Any]:
    """One kernel's datasheet in formats and shape; `more` are answers of probes that need no model."""
    made, shown = sheet.model, sheet.confirmation
    return {
        "kernel": kernel,
        "formats": dict(sheet.formats),
        "device": device,
        "shape": sheet.shape,
        "answers": [answer_json(answer) for answer in (*sheet.answers, *more)],
        "tree": None if sheet.tree is None else trees.draw(sheet.tree),
        "model": None
        if made is None
        else asdict(made.accumulator)
        | {"output_rounding": made.output_rounding, "epilogue": made.epilogue, "named": made.tree is None},
        "confirmed": shown.confirmed,
        "sums_compared": shown.sums,
        "sums_differing": shown.differing,
        "counterexample": shown.counterexample,
        "refuted": list(shown.refuted),
        "not_told_apart": list(shown.alike),
        "calls": sheet.spent.calls,
        "sums": sheet.spent.sums,
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """One answer as plain data."""
    return {
        "probe": answer.probe,
        "property": answer.property,
        "value": answer.value,
        "evidence": answer.evidence,
        "indeterminate": answer.indeterminate_reason,
    }


def kernel_json(kernel: str, device: str, made: KernelSheet) -> dict[str, Any]:
    """A kernel's datasheet as plain data."""
    return as_json(kernel, device, made.sheet, made.more) | {"one_order": made.one_order}


def sheet_json(kernel: Kernel, formats: Mapping[str, str], device: str) -> dict[str, Any]:
    """The datasheet of a kernel of any op that has probes (SHEETS), as plain data.

    Raises AccessError where the kernel gives no result.
    """
    return SHEETS[kernel.op](kernel, formats, device)


def answers_json(
    kernel: str, formats: Mapping[str, str], device: str, answers: Sequence[Answer], spent: Spent
) -> dict[str, Any]:
    """The datasheet of a kernel that is no sum, and so has no tree and no model."""
    return {
        "kernel": kernel,
        "formats": dict(formats),
        "device": device,
        "shape": "",
        "answers": [answer_json(answer) for answer in answers],
        "tree": None,
        "model": None,
        "confirmed": False,
        "sums_compared": 0,
        "sums_differing": 0,
        "counterexample": "",
        "refuted": [],
        "not_told_apart": [],
        "calls": spent.calls,
        "sums": spent.sums,
    }


def _gemm(kernel: Kernel, formats: Mapping[str, str], device: str) -> dict[str, Any]:
    said, source = claims(kernel, formats, device)
    made = kernel_json(kernel.name, device, kernel_sheet(kernel, formats, device))
    return made | {"claims": said, "claims_source": source}


def _answered(kernel: Kernel, formats: Mapping[str, str], device: str) -> dict[str, Any]:
    ask = asker(kernel, formats, device)
    return answers_json(kernel.name, formats, device, PROBES[kernel.op](ask), ask.spent)


#: How the datasheet of a kernel is made, by op.
SHEETS: dict[str, Callable[[Kernel, Mapping[str, str], str], dict[str, Any]]] = {
    "gemm": _gemm,
    **dict.fromkeys(PROBES, _answered),
}
