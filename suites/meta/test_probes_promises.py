"""What datasheets say against contracts: each promise of each op has an answer that breaks it and one that keeps it."""

from typing import Any

import pytest

from lastbit.contract import Contract
from lastbit.environment import environment
from lastbit.kernel import Kernel
from lastbit.policy import Known
from lastbit.references.scaling import Scaling
from lastbit.suites.probes.answer import Answer, undecided
from lastbit.suites.probes.op_promises import broken_of_op
from lastbit.suites.probes.promises import known_as
from lastbit.verdict import Outcome

FORMATS: dict[str, dict[str, str]] = {
    "cast": {"x": "f32", "out": "bf16"},
    "softmax": {"x": "f32", "out": "f32"},
    "attention": dict.fromkeys(("q", "k", "v", "out"), "f16"),
    "quantize": {"x": "f32"},
}


def kernel(op: str, **fields: Any) -> Kernel:
    if op == "quantize":
        fields = {"scaling": Scaling.of("mxfp4"), **fields}
    return Kernel(f"mine/{op}", op, print, FORMATS[op], framework="numpy", **fields)


@pytest.mark.parametrize(
    ("op", "promises", "name", "kept", "broken"),
    [
        ("cast", {}, "cast_steps", "one rounding", "two roundings, the first to 24 bits"),
        ("cast", {}, "cast_rounding", "nearest-even", "toward-zero"),
        ("cast", {"output_rounding": "toward-zero"}, "cast_rounding", "exact", "nearest-even"),
        ("cast", {"overflow": "saturate"}, "cast_overflow", "largest", "infinity"),
        ("cast", {}, "cast_nan", "NaN", "0"),
        ("cast", {}, "cast_subnormal_results", "kept", "flushed"),
        ("softmax", {}, "exp_zero", "exact", "not exact"),
        ("softmax", {}, "exp_infinity", "0", "not 0"),
        ("softmax", {}, "maximum_off", True, False),
        ("softmax", {}, "nan", "its row", "not its row"),
        ("softmax", {}, "exp_underflow", "gradual", "flushed"),
        ("softmax", {}, "exp_error", 90.3, 90.4),
        ("softmax", {"exp_ulp": 1.0}, "exp_error", 89.3, 89.4),
        ("softmax", {}, "repeatable", True, False),
        ("softmax", {"batch_invariant": True}, "row_invariance", "holds", "breaks at m = 4"),
        ("attention", {}, "probabilities", "f32", "f16, divided first"),
        ("attention", {"probabilities": "f16"}, "probabilities", "f16, divided first", "bf16"),
        ("attention", {}, "masked_row", "zero", "NaN"),
        ("attention", {"masked_row": "nan"}, "masked_row", "NaN", "zero"),
        ("attention", {}, "masked_keys", "ignored", "computed"),
        ("attention", {"batch_invariant": True}, "query_invariance", "holds", "breaks at lq = 1"),
        ("quantize", {}, "scale_rule", "floor", "ceil"),
        ("quantize", {"scale_rule": "ceil"}, "scale_rule", "ceil", "floor"),
        ("quantize", {}, "element_rounding", "nearest-even", "toward-zero"),
    ],
)
def test_a_promise_is_kept_or_broken(op, promises, name, kept, broken):
    contract = Contract(**promises)
    asked = kernel(op, contract=contract)

    def found(value: Any) -> dict[str, str]:
        answer = Answer("P1", name, value, "so it was") if value is not None else undecided("P1", name, "hidden")
        return broken_of_op({name: answer}, asked, FORMATS[op], contract)

    assert found(kept) == {}
    assert found(None) == {}
    (said,) = found(broken).values()
    assert f"is promised, but {name} is {broken}: so it was" in said


@pytest.mark.parametrize(
    ("op", "promises", "name", "value"),
    [
        ("cast", {"subnormals": "flush"}, "cast_subnormal_results", "flushed"),
        ("cast", {"overflow": "any"}, "cast_overflow", "wraps"),
        ("softmax", {"subnormals": "flush"}, "exp_underflow", "flushed"),
        ("softmax", {"deterministic": False}, "repeatable", False),
        ("softmax", {}, "row_invariance", "breaks at m = 4"),
        ("attention", {"masked_keys": "computed"}, "masked_keys", "computed"),
    ],
)
def test_what_is_not_promised_is_not_broken(op, promises, name, value):
    contract = Contract(**promises)
    answers = {name: Answer("P1", name, value, "")}
    assert broken_of_op(answers, kernel(op, contract=contract), FORMATS[op], contract) == {}


def test_a_known_finding_names_kernel_and_property():
    row = Known("F1", "mine/*", "datasheet", "cast_steps", Outcome.LAW_BROKEN, "two roundings")
    where = environment(("cpu",))
    cast = kernel("cast")
    assert known_as(cast, FORMATS["cast"], "cpu", "cast_steps", [row], where) == "F1"
    assert known_as(cast, FORMATS["cast"], "cpu", "cast_nan", [row], where) == ""
    assert known_as(kernel("softmax"), FORMATS["softmax"], "cpu", "cast_steps", [], where) == ""
