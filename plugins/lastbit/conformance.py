"""`assert_conforms`: one result that you have, judged by the budget derived from its data and contract."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lastbit.contract import Contract, resolved
from lastbit.errors import UsageError
from lastbit.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lastbit.budget import Budget
    from lastbit.references.data import Operand
    from lastbit.references.truth import Truth

Formats = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """How the results of an op are judged."""

    #: Operands that are needed, and those that may be left out.
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    #: Keywords of the call.
    options: tuple[str, ...]
    #: Truth and budget of each result; raises UsageError where the operands do not fit together.
    prove: "Callable[[Call], list[tuple[Truth, Budget]]]"


@dataclass(frozen=True, slots=True)
class Call:
    """The call whose result is judged."""

    op: str
    contract: Contract
    formats: Formats
    operands: "dict[str, Operand]"
    options: Mapping[str, Any]


def assert_conforms(
    obtained: Any,
    op: str = "gemm",
    inputs: Mapping[str, Any] | None = None,
    formats: Formats | None = None,
    contract: Contract | None = None,
    **options: Any,
) -> None:
    """Accept `obtained` if `contract` allows it for `op` on `inputs`; a drop-in for assert_close.

    `inputs` holds the tensors that the kernel was given, and `options` what else it was called with:

    - gemm: "a" (.., m, k), "b" (.., k, n), and "c" or "bias" if they were added; alpha, beta (1 where there is a "c").
    - softmax, log_softmax, logsumexp: "x", over its last axis.
    - attention: "q" (b, hq, lq, d), "k" (b, hkv, lk, d), "v" (b, hkv, lk, dv), and "mask" (bool keeps, numbers are
      added), "bias", "sinks"; scale, causal, window, softcap. `obtained` may be the pair (result, log-sum-exp).

    Formats are those of the tensors' types where `formats` does not say otherwise; a contract's defaults are those of
    Contract. The allowed error is derived from the data; there is nothing to tune.

    Raises AssertionError with the element, the numbers and the limit's formula when an element is not allowed, or when
    the data could not tell a right answer from a wrong one (all products zero, say). Raises UsageError when the
    arguments do not fit together.
    """
    __tracebackhide__ = True  # the reader wants the reason, not this function
    judged = _judged(op, inputs or {}, options)
    results = obtained if isinstance(obtained, tuple) else (obtained,)
    names = ("out", "lse")[: len(results)]
    if len(results) != len(names) or ("lse" in names and op != "attention"):
        raise UsageError(f"assert_conforms: {len(results)} results of {op}, expected one, or (result, log-sum-exp)")
    values = {**(inputs or {}), **dict(zip(names, results, strict=True))}
    known = {name: _format(name, value, formats or {}) for name, value in values.items()}
    held = {name: _operand(value, known[name]) for name, value in values.items()}
    operands = {name: held[name] for name in inputs or {}}
    # What is added after attention's products says nothing about how they are summed.
    deciding = known if op == "gemm" else {name: known[name] for name in (*judged.needed, "out")}
    promise = resolved(contract or Contract(), deciding)
    proved = judged.prove(Call(op, promise, known, operands, options))
    for name, (truth, budget) in zip(names, proved, strict=False):
        verdict = _verdict(held[name], truth, budget, _promise_of(name, promise))
        if verdict.outcome is not Outcome.PASS:
            where = "log-sum-exp: " if name == "lse" else ""
            raise AssertionError(f"{verdict.outcome}: {where}{verdict.reason}")


def _promise_of(name: str, contract: Contract) -> Contract:
    return replace(contract, output_rounding="nearest-even", overflow=None) if name == "lse" else contract


def _judged(op: str, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Judged:
    """How `op` is judged; raises UsageError for an op, inputs or options that are not to be judged here."""
    if op not in _OPS:
        raise UsageError(f"assert_conforms: op is {op!r}, expected one of {', '.join(_OPS)}")
    judged = _OPS[op]
    missing = [name for name in judged.needed if name not in inputs]
    if missing:
        example = ", ".join(f"'{name}': {name}" for name in judged.needed)
        raise UsageError(f"assert_conforms: inputs lacks {' and '.join(missing)}; give inputs={{{example}}}")
    takes = (*judged.needed, *judged.optional)
    strange = sorted(set(inputs) - set(takes))
    if strange:
        raise UsageError(f"assert_conforms: inputs has {', '.join(strange)}; {op} takes {', '.join(takes)}")
    unknown = sorted(set(options) - set(judged.options))
    if unknown:
        raise UsageError(
            f"assert_conforms: {op} has no option {', '.join(unknown)}; it has {', '.join(judged.options) or 'none'}"
        )
    return judged


def _verdict(got: "Operand", truth: "Truth", budget: "Budget", contract: Contract) -> Verdict:
    from lastbit.judge import judge
    from lastbit.references.formats import Format
    from lastbit.vacuity import vacuity

    if got.values.shape != truth.hi.shape:
        return Verdict(Outcome.WRONG_STRUCTURE, f"shape is {got.values.shape}, expected {truth.hi.shape}")
    out = Format.of(got.format)
    verdict = judge(got.codes, out, truth, budget, contract)
    hole = vacuity(out, truth, budget, contract) if verdict.outcome is Outcome.PASS else ""
    return Verdict(Outcome.VACUOUS, f"on these data {hole}") if hole else verdict


@contextmanager
def _fitting() -> Iterator[None]:
    """Operands that a truth refuses are the caller's mistake."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"assert_conforms: {error}") from error


def _gemm(call: Call) -> "list[tuple[Truth, Budget]]":
    from lastbit.gemm_budget import budget
    from lastbit.references import gemm
    from lastbit.references.formats import Format

    a, b = call.operands["a"].values, call.operands["b"].values
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        raise UsageError(f"assert_conforms: a has shape {a.shape} and b {b.shape}, expected (.., m, k) and (.., k, n)")
    extras = {name: call.operands[name].values for name in ("c", "bias") if name in call.operands}
    alpha, beta = call.options.get("alpha", 1.0), call.options.get("beta")
    beta = (1.0 if "c" in extras else 0.0) if beta is None else beta
    # A radius of 2^-8 of the smallest rounding that the contract has is carried by the budget without being felt.
    resolution = 2.0**-8 * min(Format.of(call.formats["out"]).u, 2.0**-24)
    with _fitting():
        truth = gemm.truth(a, b, alpha=alpha, beta=beta, resolution=resolution, **extras)
    return [(truth, budget(call.contract, call.formats, call.operands, truth, alpha=alpha, beta=beta))]


def _softmax(call: Call) -> "list[tuple[Truth, Budget]]":
    from lastbit.references.softmax import log_softmax_truth, logsumexp_truth, softmax_truth
    from lastbit.softmax_budget import budget

    x = call.operands["x"].values
    if not x.ndim:
        raise UsageError(f"assert_conforms: x has shape {x.shape}, expected (.., n)")
    if call.op == "logsumexp":
        truth = logsumexp_truth(x)
    else:
        prove = softmax_truth if call.op == "softmax" else log_softmax_truth
        truth = prove(x, masked_row=call.contract.masked_row)
    return [(truth, budget(call.op, call.contract, call.formats, call.operands, truth))]


def _attention(call: Call) -> "list[tuple[Truth, Budget]]":
    from lastbit.attention_budget import budget
    from lastbit.references.attention import attention_truth
    from lastbit.references.attention_data import problem_of

    with _fitting():
        problem = problem_of(call.operands, call.options, call.contract)
    truth = attention_truth(problem)
    out, lse = budget(call.contract, call.formats, problem, truth)
    return [(truth.out, out), (truth.lse, lse)]


_ROWS = Judged(("x",), (), (), _softmax)
_OPS = {
    "gemm": Judged(("a", "b"), ("c", "bias"), ("alpha", "beta"), _gemm),
    "softmax": _ROWS,
    "log_softmax": _ROWS,
    "logsumexp": _ROWS,
    "attention": Judged(
        ("q", "k", "v"), ("mask", "bias", "sinks"), ("scale", "causal", "window", "softcap"), _attention
    ),
}


def _operand(value: Any, format: str) -> "Operand":
    import numpy as np

    from lastbit import arrays
    from lastbit.references.data import Operand
    from lastbit.references.formats import Format

    if str(value.dtype).rpartition(".")[2] == "bool":
        value = value + np.uint8(0) if isinstance(value, np.ndarray) else value.byte()
    codes = arrays.of(arrays.framework_of(value)).codes(value, format)
    return Operand(format, codes, Format.of(format).decode(codes))


def _format(name: str, value: Any, formats: Mapping[str, str]) -> str:
    """The format of an operand: as given, else that of its type."""
    from lastbit import arrays, numpy_arrays

    if not arrays.framework_of(value):
        raise UsageError(f"assert_conforms: {name} is a {type(value).__name__}, expected a torch tensor or NumPy array")
    dtype = str(value.dtype).rpartition(".")[2]
    types = {str(numpy_arrays.dtype(fmt)): fmt for fmt in numpy_arrays.NATIVE if fmt not in ("tf32", "bool")}
    types |= {kind: fmt for fmt, kind in numpy_arrays.ML_DTYPES.items()}
    found = "u8" if dtype == "bool" and name == "mask" else types.get(dtype)
    if found is None:
        raise UsageError(f"assert_conforms: {name} has dtype {value.dtype}, expected one of {', '.join(sorted(types))}")
    stated = formats.get(name, found)
    if stated != found and (stated, found) != ("tf32", "f32"):
        raise UsageError(
            f"assert_conforms: formats says that {name} is {stated}, but its dtype is {value.dtype} ({found})"
        )
    return stated
