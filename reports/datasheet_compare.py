"""What differs between two datasheets, in words: two devices, drivers or versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lastbit.kernel import formats_text
from lastbit.reports.datasheet import PROPERTIES, meaning, shown

#: What a difference means, by property; "{a}" and "{b}" are the two values.
MEANINGS = {
    "fraction_bits": "a term loses what is below 2^-{b} of the largest one, where it was 2^-{a}",
    "terms": "{b} terms are added at once, where it was {a}: sums of the same numbers differ in their last bits",
    "rounding": "carried sums are rounded {b}, not {a}",
    "alignment": "terms are cut {b}, not {a}",
    "precision": "carried sums have {b} bits, where it was {a}",
    "output_rounding": "results are rounded {b}, not {a}",
    "input_subnormals": "subnormal operands are {b}, where they were {a}",
    "result_subnormals": "subnormal results are {b}, where they were {a}",
    "input_precision": "{b} bits of an operand count, where it was {a}: products have errors of 2^-{b}",
    "fma": "products are rounded before they are added: {a} before, {b} now",
    "tree": "the same terms are added in another order, so the last bits of every sum differ",
    "orders": "which shapes share an order of additions differs",
    "repeatable": "the same call gives the same bits: {a} before, {b} now",
    "row_invariance": "a row's bits, of fewer rows: {a} before, {b} now",
    "column_invariance": "a column's bits, of fewer columns: {a} before, {b} now",
    "overflow": "a sum that overflows on the way is {b}, where it was {a}",
    "cast_rounding": "numbers between two of the target are rounded {b}, not {a}",
    "cast_steps": "a number near a middle is rounded by {b}, where it was {a}",
    "cast_overflow": "a number beyond the range becomes {b}, where it became {a}",
    "cast_nan": "NaN becomes {b}, where it became {a}",
    "exp_error": "exp errs by up to {b} ulp, where it was {a}",
    "exp_underflow": "exp ends {b}, where it ended {a}",
    "probabilities": "weights are multiplied as {b}, where it was {a}",
    "smallest_weight": "a key counts from a weight of 2^{b} on, where it was 2^{a}",
    "masked_row": "a row that sees nothing gives {b}, where it gave {a}",
    "scale_rule": "scales are got by {b}, not by {a}: other scales, and other codes under them",
    "quotient": "numbers are divided by {b}, not by {a}: codes at ties differ",
    "element_rounding": "elements are rounded {b}, not {a}: codes at ties differ",
    "zero": "the signs of zeros are {b}, where they were {a}",
    "interleaved": "even and odd terms are aligned apart: {a} before, {b} now",
    "products_normalised": "products are normalised before they are aligned: {a} before, {b} now",
    "carry_bits": "the carried sum keeps {b} fraction bits beside a block's terms, where it was {a}",
    "carry_alignment": "the carried sum is cut {b} beside a block's terms, not {a}",
    "sum_range": "sums overflow and underflow as {b} does, where it was as {a}",
    "floor": "sums of terms all below 2^{b} lose their ends, where it was 2^{a}",
    "addend": "the addend enters {b}, where it entered {a}: c meets another rounding",
    "input_rounding": "operands are rounded {b} before they are multiplied, not {a}",
    "split": "operands in parts: {a} before, {b} now; products of very small and very large numbers differ",
    "subnormal_exponent": "subnormal operands are aligned by their {b}, not by their {a}",
    "nan": "NaN is treated so: {b}, where it was {a}",
    "infinity": "infinities are treated so: {b}, where it was {a}",
    "monotone": "a smaller term never makes a larger sum: {a} before, {b} now",
    "places": "all places of a result add alike: {a} before, {b} now",
    "thread_orders": "bits depend on the number of threads: orders are {b}, where they were {a}",
    "integer_sums": "sums of integers are {b}, where they were {a}",
    "integer_pairs": "two large products beside each other give {b}, where they gave {a}",
    "integer_overflow": "a sum beyond 32 bits {b}, where it did this: {a}",
    "cast_threshold": "numbers overflow from {b} on, where it was from {a} on",
    "cast_infinity": "infinity becomes {b}, where it became {a}",
    "cast_zero": "zero becomes {b}, where it became {a}",
    "cast_negative": "negative numbers become {b}, where they became {a}",
    "cast_subnormal_results": "subnormal results are {b}, where they were {a}",
    "cast_subnormal_operands": "subnormal operands are {b}, where they were {a}",
    "cast_table": "some code is no longer, or only now, what the other lines say: {a} before, {b} now",
    "sum_tree": "the exponentials of a row are added in another order, so the last bits of its results differ",
    "exp_base": "exp is a power of {b}, not of {a}: errors grow with the size of the argument where that is rounded",
    "exp_monotone": "a smaller number never has a larger exponential: {a} before, {b} now",
    "exp_places": "the place in a row changes no bits: {a} before, {b} now",
    "exp_zero": "exp(0) = 1 and equal shares are {b}, where they were {a}",
    "exp_infinity": "exp(-inf) is {b}, where it was {a}",
    "maximum_off": "large numbers do not overflow: {a} before, {b} now",
    "infinite_row": "a row with infinity gives {b}, where it gave {a}",
    "kappa": "a result is up to {b} numbers off the nearest, where it was {a}",
    "sink": "keys beside a much larger one are {b}, where they were {a}",
    "running_maximum": "the maximum that is taken off is {b}, where it was {a}",
    "equal_maxima": "shares of equal keys are {b}, where they were {a}",
    "masked_keys": "values of masked keys are {b}, where they were {a}: NaN there may come through",
    "key_order": "reversed keys: {b}, where it was {a}",
    "query_invariance": "a query's bits, of fewer queries: {a} before, {b} now",
    "batch_invariance": "a member's bits, alone: {a} before, {b} now",
    "scale_arithmetic": "scales are computed by {b}, not by {a}: a scale may be its neighbour",
    "scale_rounding": "scales are rounded {b}, not {a}",
    "zero_block": "a block of zeros gives {b}, where it gave {a}",
    "nan_block": "a block with NaN gives {b}, where it gave {a}",
    "infinite_block": "a block with infinity gives {b}, where it gave {a}",
    "tiny_block": "a block of the smallest number gives {b}, where it gave {a}",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One property in which two datasheets differ, of one kernel and formats."""

    kernel: str
    #: The property, or "" of what is about the whole kernel.
    property: str
    text: str


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Everything in which b differs from a, kernel by kernel; those of one datasheet only are named."""
    first, second = _by_kernel(a), _by_kernel(b)
    found = []
    for key in [*first, *(key for key in second if key not in first)]:
        if key not in second:
            found.append(Difference(key, "", "only the first datasheet has it"))
        elif key not in first:
            found.append(Difference(key, "", "only the second datasheet has it"))
        else:
            found += _of_kernel(key, first[key], second[key])
    return found


def text(found: list[Difference], a: str, b: str) -> str:
    """The differences for a person."""
    if not found:
        return f"{a} and {b} say the same of every kernel"
    lines = []
    for kernel in dict.fromkeys(one.kernel for one in found):
        lines.append(kernel)
        lines += [f"  {one.text}" for one in found if one.kernel == kernel]
    return "\n".join(lines)


def _by_kernel(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {f"{sheet['kernel']} [{formats_text(sheet['formats'])}] {sheet['shape']}": sheet for sheet in data["sheets"]}


def _of_kernel(kernel: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    first, second = ({answer["property"]: answer for answer in sheet["answers"]} for sheet in (a, b))
    found = [
        Difference(kernel, name, _words(name, first.get(name), second.get(name)))
        for name in dict.fromkeys([*first, *second])
        if _value(first.get(name)) != _value(second.get(name))
    ]
    if a["confirmed"] != b["confirmed"]:
        which = "the second" if a["confirmed"] else "the first"
        found.append(Difference(kernel, "", f"the model of {which} is not confirmed"))
    if found and b["model"] is not None and b["confirmed"] and a["model"] != b["model"]:
        found.append(Difference(kernel, "", f"so: {meaning(b['model'])}"))
    return found


def _value(answer: Mapping[str, Any] | None) -> Any:
    return None if answer is None else answer["value"]


def _words(name: str, a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> str:
    values = ["not asked" if answer is None else shown(answer) for answer in (a, b)]
    plain = f"{PROPERTIES.get(name, name)}: {values[0]} -> {values[1]}"
    if name in MEANINGS and _value(a) is not None and _value(b) is not None:
        return f"{plain}; {MEANINGS[name].format(a=values[0], b=values[1])}"
    return plain
