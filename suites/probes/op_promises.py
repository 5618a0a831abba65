"""What the datasheet of a cast, a softmax, an attention or a quantizer says against its contract."""

import math
from collections.abc import Callable, Mapping

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.scaled_operands import scaling_of
from lastbit.suites.probes.answer import Answer, Value

#: Answers by property.
Answers = Mapping[str, Answer]
#: By property: what is promised, in words, and whether a value keeps it.
Rules = dict[str, tuple[str, Callable[[Value], bool]]]

#: What a cast does beyond the range under each promise that says so.
OVERFLOWS = {"saturate": "largest", "inf": "infinity", "nan": "NaN", "wrap": "wraps", "propagate": "largest"}
#: Rules of scales that a quantizer's answer names as they are.
NAMED_RULES = ("floor", "rceil", "ceil", "even")


def broken_of_op(answers: Answers, kernel: Kernel, formats: Mapping[str, str], contract: Contract) -> dict[str, str]:
    """The promises that the answers contradict: a sentence by property. What was not decided breaks nothing."""
    rules = _everywhere(contract)
    if kernel.op in OPS:
        rules |= OPS[kernel.op](kernel, formats, contract)
    return {
        name: f"{promise} is promised, but {name} is {answer.value}: {answer.evidence}"
        for name, (promise, keeps) in rules.items()
        if (answer := answers.get(name)) is not None and answer.value is not None and not keeps(answer.value)
    }


def _everywhere(contract: Contract) -> Rules:
    rules: Rules = {}
    if contract.deterministic:
        rules["repeatable"] = ("deterministic", _is(True))
    if contract.batch_invariant:
        for name in ("row_invariance", "query_invariance", "batch_invariance"):
            rules[name] = ("batch_invariant", _is("holds"))
    return rules


def _cast(kernel: Kernel, formats: Mapping[str, str], contract: Contract) -> Rules:
    out = Format.of(formats["out"])
    rules: Rules = {"cast_steps": ("one rounding", lambda value: not str(value).startswith("two"))}
    if contract.output_rounding != "stochastic":
        rounding = contract.output_rounding
        rules["cast_rounding"] = (f"output_rounding {rounding}", _is(rounding, "exact"))
    if contract.overflow in OVERFLOWS and Format.of(formats["x"]).max > out.max:
        rules["cast_overflow"] = (f"overflow {contract.overflow}", _is(OVERFLOWS[contract.overflow]))
    if out.has_nan:
        rules["cast_nan"] = ("NaN", _is("NaN"))
    elif contract.nan == "zero":
        rules["cast_nan"] = ("nan: zero", _is("0"))
    if contract.subnormals == "keep":
        for name in ("cast_subnormal_results", "cast_subnormal_operands"):
            rules[name] = ("subnormals: keep", _is("kept"))
    return rules


def _rows(kernel: Kernel, formats: Mapping[str, str], contract: Contract) -> Rules:
    rules: Rules = {
        "exp_zero": ("exp(0) = 1", _is("exact")),
        "exp_infinity": ("exp(-inf) = 0", _is("0")),
        "maximum_off": ("no overflow of exp", _is(True)),
        "nan": ("NaN in its own row", _is("its row")),
    }
    if contract.subnormals == "keep":
        rules["exp_underflow"] = ("subnormals: keep", _is("gradual", "never 0"))
    if formats["out"] in ("f64", "f32"):
        # |x| u of the rounded argument, up to |x| ulp of the result; half an ulp of the division, and of the result.
        allowed = contract.exp_ulp - Format.of(formats["out"]).emin * math.log(2) + 1
        rules["exp_error"] = (f"exp_ulp {contract.exp_ulp:g}", lambda value: float(value) <= allowed)
    return rules


def _attention(kernel: Kernel, formats: Mapping[str, str], contract: Contract) -> Rules:
    promised = contract.probabilities or ("f64" if formats["q"] == "f64" else "f32")
    needed = Format.of(promised).precision
    masked = {"zero": "zero", "nan": "NaN"}[contract.masked_row]
    rules: Rules = {
        "probabilities": (f"probabilities {promised}", lambda value: _precision(value) >= needed),
        "masked_row": (f"masked_row: {contract.masked_row}", _is(masked)),
    }
    if contract.masked_keys == "ignored":
        rules["masked_keys"] = ("masked_keys: ignored", _is("ignored"))
    return rules


def _quantize(kernel: Kernel, formats: Mapping[str, str], contract: Contract) -> Rules:
    rules: Rules = {}
    scaling = scaling_of(kernel, contract)
    rule = scaling.rule
    if rule in NAMED_RULES:
        rules["scale_rule"] = (f"scale rule {rule}", _is(rule))
    elif rule == "amax_over_max":
        rules["scale_rule"] = (f"scale rule {rule}", lambda value: str(value).startswith("amax /"))
    if scaling.rounding != "stochastic":
        rules["element_rounding"] = (f"rounding {scaling.rounding}", _is(scaling.rounding))
    return rules


def _is(*allowed: Value) -> Callable[[Value], bool]:
    return lambda value: value in allowed


def _precision(value: Value) -> int:
    """Bits of the format that an attention's answer names: "f16, divided first"."""
    return Format.of(str(value).partition(",")[0]).precision


#: The rules of an op's answers.
OPS: dict[str, Callable[[Kernel, Mapping[str, str], Contract], Rules]] = {
    "cast": _cast,
    "softmax": _rows,
    "log_softmax": _rows,
    "logsumexp": _rows,
    "attention": _attention,
    "quantize": _quantize,
}
