"""A contract from a datasheet: a confirmed model is the accumulator that a kernel's error is bounded by."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.errors import KernelError

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator


def accumulator(sheet: Mapping[str, Any]) -> "Accumulator":
    """The accumulator of a kernel's confirmed model.

    Raises KernelError where there is no model, or it was not confirmed.
    """
    from lastbit.references.accumulators import Accumulator

    name, model = sheet["kernel"], sheet["model"]
    if model is None or not sheet["confirmed"]:
        why = sheet["counterexample"] or "too few sums were compared"
        raise KernelError(f"datasheet of {name}: its model is not confirmed ({why}); give an accumulator by name")
    known = {field.name for field in fields(Accumulator)}
    shape = f"measured on {sheet['device']}, {sheet['shape']}"
    chosen = {key: value for key, value in model.items() if key in known}
    if not sheet.get("one_order"):  # the order of the shape that was measured is not that of every shape
        chosen |= {"order": "any", "width": 0, "promote": 0}
    return Accumulator(**chosen | {"name": f"{name} as measured", "source": shape})


def subnormals(sheet: Mapping[str, Any]) -> str:
    """ "keep" or "flush": what the kernel does with subnormal operands and results, as far as its datasheet knows."""
    answers = {answer["property"]: answer["value"] for answer in sheet["answers"]}
    kinds = {answers.get("input_subnormals"), answers.get("result_subnormals")}
    return "keep" if kinds <= {"kept", None} else "flush"


def chosen(datasheet: Any, kernel: str, formats: Mapping[str, str] | None) -> Mapping[str, Any]:
    """The sheet of a kernel and formats in a datasheet: a file, what it holds, or one sheet of it.

    Raises KernelError where it has none, or several.
    """
    data = json.loads(Path(datasheet).read_text(encoding="utf-8")) if isinstance(datasheet, str | Path) else datasheet
    if "sheets" not in data:
        one: Mapping[str, Any] = data
        return one
    sheets = [
        sheet
        for sheet in data["sheets"]
        if kernel in ("", sheet["kernel"]) and (formats is None or dict(formats) == sheet["formats"])
    ]
    if len(sheets) != 1:
        there = ", ".join(f"{sheet['kernel']} {sheet['formats']['out']}" for sheet in data["sheets"])
        asked = f"{kernel or 'any kernel'} {dict(formats) if formats else 'in any formats'}"
        raise KernelError(f"datasheet has {len(sheets)} sheets of {asked}, expected one; it has {there}")
    found: Mapping[str, Any] = sheets[0]
    return found
