"""A contract and the sources of its budgets in words, for who has not read the documentation."""

import re
from dataclasses import dataclass

#: What a field's value promises; "{}" is the value.
_FIELDS: dict[str, str] = {
    "input_rounding": "Operands are rounded to {} before they are multiplied (budgets.md 4).",
    "output_rounding": "The result is rounded {} to the output format (budgets.md 8).",
    "overflow": "What is too large for the output format becomes: {} (budgets.md 1).",
    "nan": "NaN in an output format without it becomes: {}.",
    "zero": "Zero in an output format without it becomes: {}.",
    "probabilities": "P, and the gradients dS, are rounded to {} before they are multiplied (attention.md 3).",
    "scores": "The logits are stored as {} after each operation (attention.md 3).",
    "head_gradients": "dK and dV of each query head are rounded to {} before they are added (attention.md 6).",
    "exp_ulp": "exp and log are off by at most {} ulp (softmax.md 2, attention.md 3).",
    "masked_row": "A row all of whose keys are masked is {}.",
    "causal_alignment": "A causal mask starts at the {} corner.",
    "scale_rule": "Scales follow the rule {} (quantize.md 1).",
    "scale_arithmetic": "Codes and scales are applied by the arithmetic {} (quantize.md 2, quantize_law.md 5).",
    "scaled": "Scales multiply the {} (scaled_gemm.md 3 to 5).",
}
_VALUES: dict[tuple[str, str], str] = {
    ("accumulator", "exact"): "Sums are exact and rounded once.",
    ("accumulator", "i32"): "Sums are integers of 32 bits, which are exact until they overflow.",
    ("subnormals", "flush"): "Subnormal operands and results may become zero (budgets.md 6).",
    ("masked_keys", "computed"): "Masked keys are computed with weight zero, so that their NaN may come through.",
    ("deterministic", "False"): "The same call may give other bits.",
    ("deterministic_gradients", "False"): "The same call may give other bits of gradients.",
    ("batch_invariant", "True"): "The bits of a row do not depend on the other rows of the batch.",
}
_FORMATS = ("f64", "f32", "f16", "bf16")
_SOURCES = {
    "budgets.md 2": "n roundings of a sum, in any order, are off by at most n u times the sum of the magnitudes",
    "budgets.md 3": "a matrix engine aligns a block of products and cuts them off",
    "budgets.md 4": "operands are rounded, or split into words, before they are multiplied",
    "budgets.md 5": "each scalar and each addend costs a rounding",
    "budgets.md 6": "subnormal numbers may be lost as zeros",
    "budgets.md 7": "what the truth itself is not known to",
    "budgets.md 8": "one rounding to the output format",
    "budgets.md 9": "a partial sum may overflow",
    "budgets.md 10": "means of independent roundings stay within probability bounds",
    "attention.md 2": "the truth of the softmax over the keys",
    "attention.md 3": "errors of logits, weights and their sum carry over to the result",
    "attention.md 6": "errors of P, dP and dS carry over to the gradients",
    "softmax.md 2": "errors of exponentials, of their sum and of the quotient add up",
    "softmax.md 4": "exponentials may underflow or be flushed",
    "kv_cache.md 3": "keys and values are the dequantized cache's",
    "scaled_gemm.md": "partial sums, or operands, are multiplied by scales with a rounding each",
    "quantize_law.md 5": "codes are worth a product of code and scale, in the promised order",
    "one rounding": "one result is right: the exact one, rounded once (budgets.md 12)",
    "copied": "one result is right: the number itself, copied",
    "integers are exact": "integers: one result is right",
}
_NAMES = (
    "accumulator", *_FIELDS, "subnormals", "masked_keys", "deterministic_gradients", "deterministic", "batch_invariant",
)  # fmt: skip
_FIELD = re.compile(rf"(?:^|, )({'|'.join(_NAMES)})=")


@dataclass(frozen=True, slots=True)
class Promise:
    """One field of a contract that differs from the default."""

    name: str
    value: str
    words: str


def promises(contract: str) -> list[Promise]:
    """The fields of a record's `contract`, as Contract.text writes it; a field that has no words here is shown bare."""
    found = list(_FIELD.finditer(contract))
    ends = [*(match.start() for match in found), len(contract)][1:]
    values = [contract[match.end() : end] for match, end in zip(found, ends, strict=True)] if found else []
    return [Promise(match[1], value, _words(match[1], value)) for match, value in zip(found, values, strict=True)]


def reasons(formula: str) -> tuple[str, list[str]]:
    """A record's formula without its sources, and those in words: 'what it accounts for (source)'."""
    bare, bracket, rest = formula.rpartition(" [")
    if not bracket or not rest.endswith("]"):
        return formula, []
    why = _explained(rest.removesuffix("]").split("; "))
    unknown = bare == "exact" and why[0] not in _SOURCES.values()
    return bare, [f"one result is right: {why[0]}", *why[1:]] if unknown else why


def _explained(sources: list[str]) -> list[str]:
    """Each part of the documentation in words, with the works that follow it in the list."""
    made: list[str] = []
    for source in dict.fromkeys(sources):
        if source in _SOURCES:
            made.append(f"{_SOURCES[source]} ({source})" if ".md" in source else _SOURCES[source])
        elif made and re.search(r"[A-Z]\w+ \d{4}", source):
            made[-1] = (
                f"{made[-1].removesuffix(')')}; {source})" if made[-1].endswith(")") else f"{made[-1]} ({source})"
            )
        else:
            made.append(source)
    return made


def _words(name: str, value: str) -> str:
    known = _VALUES.get((name, value))
    if known is not None:
        return known
    if name == "accumulator":
        return _accumulator(value)
    return _FIELDS.get(name, "{}").format(value.replace("-", " "))


def _accumulator(value: str) -> str:
    if value in _FORMATS:
        return f"Sums, and what else is computed, are in {value}, a rounding each, in any order (budgets.md 2)."
    if "/" in value:
        return f"Sums are those of a matrix engine, {value} (budgets.md 3, accumulators.md)."
    return f"Sums are kept in {value} (budgets.md 2, accumulators.md)."
