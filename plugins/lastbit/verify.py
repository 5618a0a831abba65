"""Judging without pytest: `verify` walks the law over a kernel, `assert_conforms` judges one result that you have."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastbit.choices import options
from lastbit.contract import Contract, resolved
from lastbit.errors import KernelError, UsageError
from lastbit.kernel import Kernel
from lastbit.settling import exit_status
from lastbit.verdict import Finding, Outcome, Record, Verdict, finding

if TYPE_CHECKING:
    from lastbit.discovery import Found
    from lastbit.environment import Environment
    from lastbit.references.data import Operand

Progress = Callable[[int, int, Record], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found; `str` of it is what a person reads."""

    #: Something was judged, and nothing fails that is not a known finding.
    passed: bool
    #: Every record that is neither a pass nor left out.
    findings: tuple[Finding, ...]
    #: Every record, those of cases that were not tested too.
    records: tuple[Record, ...]
    environment: "Environment"
    #: Why libraries of this machine offered no kernels, and the like.
    notes: tuple[str, ...] = ()
    #: Exit status of a command that ends with this report: 0 conforms, 1 does not, 2 nothing was judged.
    status: int = field(default=0)

    def __str__(self) -> str:
        from lastbit.reports.terminal import lines

        return "\n".join(lines(self.records, self.environment, self.notes))


def verify(
    kernel: Kernel | Callable[..., Any],
    *,
    op: str = "gemm",
    formats: Any = None,
    contract: Contract | None = None,
    framework: str = "torch",
    name: str = "",
    features: Iterable[str] = (),
    scaling: Any = None,
    device: str | None = "cpu",
    tier: str = "standard",
    seed: int = 0,
    case: str | Iterable[str] = (),
    golden: str | Path | None = None,
    strict: bool = False,
    isolate: bool = False,
) -> Report:
    """The report of a kernel over the whole law of its op; device None is every device found.

    A function needs `formats`, one mapping of operands and "out" to formats or several, and takes the other fields of
    a Kernel as they stand here; a Kernel brings its own. `case` picks single cases, "CHECK CASE FORMATS", as a failure
    names them. `golden` is the folder of baselines to compare with, golden/ in the working directory by default.
    `isolate` runs the kernel in a process of its own.

    Raises UsageError or KernelError when an argument cannot be used.
    """
    from lastbit.discovery import Found

    if not isinstance(kernel, Kernel):
        kernel = _kernel(kernel, op, formats, contract, framework, name, features, scaling)
    elif formats is not None or contract is not None:
        raise UsageError(
            f"verify({kernel.name}): a Kernel brings its own formats and contract; use dataclasses.replace"
        )
    given: dict[str, Any] = {"tier": tier, "seed": seed, "golden": golden, "strict": strict, "isolate": isolate}
    given["device"] = [device] if device else []
    given["case"] = [case] if isinstance(case, str) else list(case)
    return walk(Found((kernel,)), given, "lastbit.verify(kernel")


def walk(found: "Found", given: Mapping[str, Any], command: str, progress: Progress | None = None) -> Report:
    """The report of the found kernels under the options `given`; `progress` hears (done, all, record) as it goes."""
    from lastbit import session
    from lastbit.environment import environment

    chosen = options(given, Path.cwd())
    plan = session.plan(chosen, found)
    rules = session.policy(chosen, command, plan)
    records = list(plan.untested)
    for done, (check, trial) in enumerate(plan.choices, 1):
        record = session.judge(check, trial, rules)
        records.append(record)
        if progress is not None:
            progress(done, len(plan.choices), record)
    status = exit_status(records, chosen.strict)
    findings = tuple(finding(r) for r in records if r.outcome not in (Outcome.PASS, Outcome.NOT_TESTED))
    here = environment(plan.devices)
    notes = [f"no kernels from {name}: {why}" for name, why in plan.absent.items()]
    notes += session.expired(chosen) + session.gone(chosen, records, here)
    return Report(status == 0, findings, tuple(records), here, tuple(notes), status)


def assert_conforms(
    obtained: Any,
    op: str = "gemm",
    inputs: Mapping[str, Any] | None = None,
    formats: Mapping[str, str] | None = None,
    contract: Contract | None = None,
    *,
    alpha: float = 1.0,
    beta: float | None = None,
) -> None:
    """Accept `obtained` if `contract` allows it for alpha * a @ b + beta * c + bias; a drop-in for assert_close.

    `inputs` holds the tensors that the kernel was given: "a" (.., m, k), "b" (.., k, n), and "c" or "bias" if they
    were added. Formats are those of the tensors' types where `formats` does not say otherwise; a contract's defaults
    are those of Contract. `beta` is 1 where there is a "c". The allowed error is derived from the data; there is
    nothing to tune.

    Raises AssertionError with the element, the numbers and the limit's formula when an element is not allowed, or when
    the data could not tell a right answer from a wrong one (all products zero, say). Raises UsageError when the
    arguments do not fit together.
    """
    __tracebackhide__ = True  # the reader wants the reason, not this function
    if op != "gemm":
        raise UsageError(f"assert_conforms: op is {op!r}; lastbit judges gemm so far")
    if inputs is None or not {"a", "b"} <= set(inputs):
        raise UsageError("assert_conforms: inputs lacks a or b; give inputs={'a': a, 'b': b}")
    strange = sorted(set(inputs) - {"a", "b", "c", "bias"})
    if strange:
        raise UsageError(f"assert_conforms: inputs has {', '.join(strange)}; gemm takes a, b, c and bias")
    known = {name: _format(name, value, formats or {}) for name, value in {**inputs, "out": obtained}.items()}
    operands = {name: _operand(value, known[name]) for name, value in inputs.items()}
    got = _operand(obtained, known["out"])
    verdict = _judge_gemm(got, operands, known, resolved(contract or Contract(), known), alpha, beta)
    if verdict.outcome is not Outcome.PASS:
        raise AssertionError(f"{verdict.outcome}: {verdict.reason}")


def _judge_gemm(
    got: "Operand",
    operands: "dict[str, Operand]",
    formats: Mapping[str, str],
    contract: Contract,
    alpha: float,
    beta: float | None,
) -> Verdict:
    import numpy as np

    from lastbit.gemm_budget import budget as gemm_budget
    from lastbit.judge import judge
    from lastbit.references import gemm
    from lastbit.references.formats import Format
    from lastbit.vacuity import vacuity

    a, b = operands["a"].values, operands["b"].values
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        raise UsageError(f"assert_conforms: a has shape {a.shape} and b {b.shape}, expected (.., m, k) and (.., k, n)")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if got.values.shape != shape:
        reason = f"shape is {got.values.shape}, expected {shape}"
        return Verdict(Outcome.WRONG_STRUCTURE, reason)
    out = Format.of(formats["out"])
    beta = (1.0 if "c" in operands else 0.0) if beta is None else beta
    extras = {name: operands[name].values for name in ("c", "bias") if name in operands}
    # A radius of 2^-8 of the smallest rounding that the contract has is carried by the budget without being felt.
    truth = gemm.truth(a, b, alpha=alpha, beta=beta, resolution=2.0**-8 * min(out.u, 2.0**-24), **extras)
    allowed = gemm_budget(contract, dict(formats), operands, truth, alpha=alpha, beta=beta)
    verdict = judge(got.codes, out, truth, allowed, contract)
    hole = vacuity(out, truth, allowed, contract) if verdict.outcome is Outcome.PASS else ""
    return Verdict(Outcome.VACUOUS, f"on these data {hole}") if hole else verdict


def _operand(value: Any, format: str) -> "Operand":
    from lastbit import arrays
    from lastbit.references.data import Operand
    from lastbit.references.formats import Format

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
    found = types.get(dtype)
    if found is None:
        raise UsageError(f"assert_conforms: {name} has dtype {value.dtype}, expected one of {', '.join(sorted(types))}")
    stated = formats.get(name, found)
    if stated != found and (stated, found) != ("tf32", "f32"):
        raise UsageError(
            f"assert_conforms: formats says that {name} is {stated}, but its dtype is {value.dtype} ({found})"
        )
    return stated


def _kernel(
    run: Callable[..., Any],
    op: str,
    formats: Any,
    contract: Contract | None,
    framework: str,
    name: str,
    features: Iterable[str],
    scaling: Any,
) -> Kernel:
    if not callable(run):
        raise UsageError(f"verify: {run!r} is neither a Kernel nor a function")
    known = name or f"{run.__module__.rpartition('.')[2]}/{getattr(run, '__name__', type(run).__name__)}"
    known = known.replace("<lambda>", "lambda")
    if formats is None:
        raise KernelError(f"kernel {known}: formats is missing; give formats={{'a': 'f32', 'b': 'f32', 'out': 'f32'}}")
    promise = contract or Contract()
    return Kernel(known, op, run, formats, promise, framework, features=frozenset(features), scaling=scaling)
