"""A datasheet for a person: every property with its value, and what the answers mean for a sum."""

from collections.abc import Mapping
from typing import Any

from lastbit.kernel import formats_text

#: What a property is called, in the order of the page.
PROPERTIES = {
    "tree": "order of additions",
    "terms": "terms added at once",
    "fraction_bits": "fraction bits of a term",
    "alignment": "terms are cut",
    "interleaved": "even and odd terms apart",
    "products_normalised": "products normalised first",
    "carry_bits": "fraction bits of the carried sum",
    "carry_alignment": "the carried sum is cut",
    "precision": "bits of the carried sum",
    "rounding": "the carried sum is rounded",
    "sum_range": "exponents of the carried sum",
    "floor": "lowest exponent aligned to",
    "addend": "the addend enters",
    "fma": "fused multiply-add",
    "output_rounding": "rounding to the result",
    "input_precision": "bits read of an operand",
    "input_rounding": "the operand is rounded",
    "split": "operands split in parts",
    "input_subnormals": "subnormal operands",
    "result_subnormals": "subnormal results",
    "subnormal_exponent": "subnormals aligned by",
    "nan": "NaN",
    "infinity": "infinities",
    "overflow": "overflow on the way",
    "zero": "zeros",
    "monotone": "monotone",
    "repeatable": "the same call, the same bits",
    "places": "places of a result",
    "row_invariance": "a row's bits, of fewer rows",
    "column_invariance": "a column's bits, of fewer columns",
    "orders": "orders of all shapes",
    "thread_orders": "orders of 1, 2 and 4 threads",
    "integer_sums": "sums of integers",
    "integer_pairs": "pairs of large products",
    "integer_overflow": "a sum beyond 32 bits",
    "cast_rounding": "rounding to the target",
    "cast_steps": "roundings on the way",
    "cast_overflow": "beyond the largest number",
    "cast_threshold": "first number that overflows",
    "cast_infinity": "infinity becomes",
    "cast_nan": "NaN becomes",
    "cast_zero": "zero becomes",
    "cast_negative": "negative numbers become",
    "cast_subnormal_results": "subnormal results",
    "cast_subnormal_operands": "subnormal operands",
    "cast_table": "all codes",
    "sum_tree": "order of the sum of exponentials",
    "exp_error": "largest error of exp, ulp",
    "exp_base": "base of the exponential",
    "exp_underflow": "exp below the normal range",
    "exp_monotone": "exp is monotone",
    "exp_places": "exp in all places of a row",
    "exp_zero": "exp(0) is 1",
    "exp_infinity": "exp(-inf)",
    "maximum_off": "the maximum is taken off",
    "infinite_row": "a row with infinity",
    "kappa": "numbers off the nearest, at most",
    "probabilities": "format of the weights",
    "smallest_weight": "smallest weight, as a power of 2",
    "sink": "keys beside a much larger one",
    "running_maximum": "the maximum taken off",
    "equal_maxima": "shares of equal keys",
    "masked_row": "a row that sees nothing",
    "masked_keys": "values of masked keys",
    "key_order": "bits under reversed keys",
    "query_invariance": "a query's bits, of fewer queries",
    "batch_invariance": "a member's bits, alone",
    "scale_rule": "rule of scales",
    "scale_arithmetic": "arithmetic of scales",
    "scale_rounding": "rounding of scales",
    "quotient": "arithmetic of the quotient",
    "element_rounding": "rounding to the element",
    "zero_block": "a block of zeros",
    "nan_block": "a block with NaN",
    "infinite_block": "a block with infinity",
    "tiny_block": "a block of the smallest number",
}
#: Longest value that is printed.
SHOWN = 72


def text(sheet: Mapping[str, Any], *, evidence: bool = False) -> str:
    """One kernel's datasheet; with `evidence` what each probe asked and what came back."""
    from tabulate import tabulate

    title = f"{sheet['kernel']} [{formats_text(sheet['formats'])}]"
    if "error" in sheet:
        return f"{title}\n  no datasheet: {sheet['error']}\n"
    answers = {answer["property"]: answer for answer in sheet["answers"]}
    order = [name for name in PROPERTIES if name in answers] + [name for name in answers if name not in PROPERTIES]
    claims = sheet.get("claims", {})
    rows = [_row(answers[name], claims, evidence=evidence) for name in order]
    heads = ("", "property", "value", *(("claimed",) if claims else ()), *(("evidence",) if evidence else ()))
    lines = tabulate(rows, heads, tablefmt="simple", disable_numparse=True).splitlines()
    of = f", {sheet['shape']}; {sheet['calls']} calls for {sheet['sums']} sums" if sheet["shape"] else ""
    head = f"{title} on {sheet['device']}{of}"
    claimed = [f"claimed by: {sheet['claims_source']}"] if claims else []
    return "\n".join([head, *(line.rstrip() for line in lines), *claimed, *model_lines(sheet), ""])


def model_lines(sheet: Mapping[str, Any]) -> list[str]:
    """What came of comparing the model with the kernel, and what it says of a sum."""
    if not sheet["shape"]:  # no sum
        return []
    if sheet["model"] is None:
        return [f"no model: {sheet['counterexample']}"]
    if not sheet["confirmed"]:
        count = f"{sheet['sums_differing']} of {sheet['sums_compared']} sums differ"
        return [f"model NOT confirmed, {count}: {sheet['counterexample']}"]
    lines = [f"model confirmed: {sheet['sums_compared']} sums equal bit for bit; {meaning(sheet['model'])}"]
    if sheet["refuted"]:
        lines.append(f"told from: {', '.join(sheet['refuted'])}")
    if sheet["not_told_apart"]:
        lines.append(f"not told from: {', '.join(sheet['not_told_apart'])} (no sum of these formats shows it)")
    return lines


def meaning(model: Mapping[str, Any], k: int = 4096) -> str:
    """What a model means for the error of a sum of k terms, in words."""
    from lastbit.references.accumulators import Accumulator

    known = {name: value for name, value in model.items() if name in Accumulator.__slots__}
    found = Accumulator(**known)
    share = f"up to {percent(found.coefficient(k))} of the sum of magnitudes at K={k}"
    if found.truncates:
        what = "truncated" if found.alignment == "toward-zero" else f"cut {found.alignment}"
        bits = f" to {found.fraction_bits} fraction bits" if found.engine in ("fused", "cdna3") else ""
        return f"sums are {what}{bits}: errors grow one-sided, {share}"
    return f"every addition is rounded to nearest in {found.precision} bits: errors have both signs, {share}"


def percent(share: float) -> str:
    """A share as a percentage of two digits."""
    return f"{100 * share:.2g} %"


def shown(answer: Mapping[str, Any]) -> str:
    """The value of an answer, or why there is none."""
    if answer["value"] is None:
        return f"INDETERMINATE: {answer['indeterminate']}"
    value = {True: "yes", False: "no"}.get(answer["value"], answer["value"]) if _is_bool(answer) else answer["value"]
    text = str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _is_bool(answer: Mapping[str, Any]) -> bool:
    return isinstance(answer["value"], bool)


def _row(answer: Mapping[str, Any], claims: Mapping[str, Any], *, evidence: bool) -> tuple[str, ...]:
    name = answer["property"]
    claimed = (str(claims.get(name, "")),) if claims else ()
    return (
        answer["probe"],
        PROPERTIES.get(name, name),
        shown(answer),
        *claimed,
        *((answer["evidence"],) if evidence else ()),
    )
