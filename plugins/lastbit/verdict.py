"""What a judgement says: Outcome, ErrorStats, Verdict, and the Finding and Record made of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The ways a check can end; only PASS is a pass."""

    PASS = "pass"
    OVER_BUDGET = "over_budget"  # an element's error, or a statistic of the errors, exceeds what the contract allows
    WRONG_CLASS = "wrong_class"  # NaN, infinity, zero or saturation where the truth has another class
    WRONG_STRUCTURE = "wrong_structure"  # shape, dtype, canary, mutated input, stale or aliased output
    LAW_BROKEN = "law_broken"  # a promised law (repeatability, slice invariance, scaling) does not hold
    REGRESSED = "regressed"  # within budget, but worse than the stored golden baseline
    VACUOUS = "vacuous"  # the budget would also accept a wrong answer, so nothing was shown
    SLOW = "slow"
    INCONCLUSIVE = "inconclusive"
    UNSUPPORTED = "unsupported"  # the kernel says that it does not do this
    CRASHED = "crashed"  # the kernel raised or died
    TIMED_OUT = "timed_out"
    ERROR = "error"  # lastbit itself failed: a bug of ours, never the kernel's
    NOT_TESTED = "not_tested"  # the tier, a limit or a missing part kept the check from running

    @property
    def failed(self) -> bool:
        """Whether this outcome means that the kernel does not conform (or that lastbit broke)."""
        return self in _FAILED

    @property
    def judged(self) -> bool:
        """Whether the check was carried out and says something about the kernel."""
        return self is Outcome.PASS or self in _FAILED


_FAILED = frozenset(
    {
        Outcome.OVER_BUDGET,
        Outcome.WRONG_CLASS,
        Outcome.WRONG_STRUCTURE,
        Outcome.LAW_BROKEN,
        Outcome.REGRESSED,
        Outcome.SLOW,
        Outcome.CRASHED,
        Outcome.TIMED_OUT,
        Outcome.ERROR,
    }
)


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """The error of one output against its truth; every number is finite, zero where `n` is 0.

    Only elements whose truth and result are finite count, but for `n`, which counts all.
    """

    n: int = 0
    #: Largest |y - x| / ulp(x), x the exact value (docs/formats.md).
    max_ulp: float = 0.0
    p50_ulp: float = 0.0
    p99_ulp: float = 0.0
    #: Largest P3109 step count between the result and the correctly rounded truth.
    max_kappa: int = 0
    #: Largest |y - x| / |x| where x is not zero.
    max_rel: float = 0.0
    #: Largest error / allowed error: 1 is the budget.
    utilisation: float = 0.0
    #: Root mean square of error / statistical budget; 0 where there is none.
    rms: float = 0.0
    #: mean(error * sign(x)) / mean |error|, in [-1, 1]: -1 is truncation.
    bias: float = 0.0
    #: Elements whose result is not the correctly rounded truth.
    inexact: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's judgement of one kernel, formats, device and case."""

    outcome: Outcome
    #: One paragraph a person reads; the first line is: metric, place, got, want.
    reason: str = ""
    #: The measured number that decided (error / allowed, a count, ...) and what it may be at most.
    measured: float | None = None
    allowed: float | None = None
    #: Where: an index such as "(1, 3)", or an operand's name.
    where: str = ""
    #: Name of the formula behind `allowed`, with its source.
    formula: str = ""
    #: Which rung proved the truth: "fp64 bound", "fp64 exact", "sliced", "rational", ...; "" if no truth was needed.
    proof: str = ""
    stats: ErrorStats | None = None
    #: sha256/16 of the output's bytes, for repeatable kernels; a shortcut of the golden comparison.
    digest: str = ""
    #: Facts measured beside the verdict ("batch invariance": "breaks at m=1, 3"), plain text by name.
    notes: dict[str, str] = field(default_factory=dict)
    #: Signed errors, plus away from zero: (bin, elements). Bin 0 ends at 2^-6 ulp on either side, bin k at 2^(k/2 - 6),
    #: and -k at minus that (histogram.py). Of an output of 2^16 elements and more, those of a sample.
    histogram: tuple[tuple[int, int], ...] = ()
    #: How long the sum behind an element is at most: products, numbers of a row, keys; 0 where nothing is summed.
    terms: int = 0
    #: Allowed error, in ulp, of the element that came nearest to it (error / allowed is stats.utilisation); 0 where one
    #: result is right, or where nothing was compared with a bound.
    allowed_ulp: float = 0.0
    #: Of a failure, the element that decided: its value and bits, and those that it should have.
    got: str = ""
    want: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast a kernel was that the same run had judged; numbers are 0 where nothing was measured."""

    #: What it was timed beside: "main", a file, or the yardstick's name.
    against: str
    #: The check that judged the timed calls, on the same data, in the same process.
    check: str
    #: Records of this run, of the same kernel, formats and device, that pass and that fail: with one that fails, there
    #: is no speed.
    passed: int = 0
    failed: int = 0
    #: Time of the kernel / time of what it was timed beside, and the interval of the ratio; beside a yardstick, the
    #: median and the extremes of fresh processes.
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    #: Pairs that count, and all that were taken.
    clean: int = 0
    taken: int = 0
    #: Median nanoseconds of a call, of the kernel and of what it was timed beside.
    ns: float = 0.0
    base_ns: float = 0.0
    #: Nanoseconds of a call at the limit of the device, what limits it ("compute", "memory"), and the share reached.
    limit_ns: float = 0.0
    bound: str = ""
    reached: float = 0.0
    threads: int = 1
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One judged check as it is stored in run.jsonl: flat, plain data."""

    kernel: str
    op: str
    formats: str  # "a:bf16 b:bf16 out:f32"
    device: str
    check: str
    case: str
    outcome: Outcome
    reason: str = ""
    measured: float | None = None
    allowed: float | None = None
    where: str = ""
    formula: str = ""
    proof: str = ""
    contract: str = ""
    stats: ErrorStats | None = None
    digest: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    tier: str = "smoke"
    seed: int = 0
    seconds: float = 0.0
    #: Command that runs just this case again.
    reproduce: str = ""
    #: Drift against golden: "", "new", "same", "drifted", "better" or "stale", then ": " and what moved, or, for "new",
    #: what the baseline of another device would say.
    golden: str = ""
    #: Id of the FINDINGS.md row that this failure is known as, or that it should have failed as; the outcome is still
    #: the real one.
    known: str = ""
    #: Of a record of speed, which follows those of numbers: the measurement.
    timing: Timing | None = None
    histogram: tuple[tuple[int, int], ...] = ()
    terms: int = 0
    allowed_ulp: float = 0.0
    got: str = ""
    want: str = ""
    #: Where the contract is published; "" if it is lastbit's default.
    source: str = ""

    @property
    def key(self) -> str:
        """What identifies this record across runs of one device: kernel, formats, check, case, device."""
        return " ".join((self.kernel, self.formats.replace(" ", ","), self.check, self.case, self.device))

    @property
    def failed(self) -> bool:
        """Whether this record makes the run fail: a failure that is no known finding, or a finding that passes now."""
        return self.outcome.failed != bool(self.known)


@dataclass(frozen=True, slots=True)
class Finding:
    """A record that is not a pass, as `verify` returns it."""

    check: str
    case_id: str
    outcome: Outcome
    reason: str
    measured: float | None
    allowed: float | None
    where: str


def finding(record: Record) -> Finding:
    """The finding that a record amounts to."""
    return Finding(
        record.check, record.case, record.outcome, record.reason, record.measured, record.allowed, record.where
    )


def plain(value: Any) -> Any:
    """`value` (a dataclass of this module, or a container of them) as plain lists, dicts, numbers and strings."""
    import msgspec

    return msgspec.to_builtins(value)
