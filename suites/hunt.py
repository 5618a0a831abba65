"""The search that every law's hunt is made of: hypothesis draws cases of a kernel and shrinks one that fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from lastbit.case import Trial
from lastbit.contract import Contract
from lastbit.verdict import Outcome, Verdict

#: What makes a drawn case: of the trial, hypothesis's data and its strategies.
Draw = Callable[[Trial, Any, Any], Trial]
EXAMPLES = {"smoke": 20, "standard": 60, "full": 1000}
#: Layouts that every framework's arrays have; plain ones first, which are simpler.
LAYOUTS = ("contiguous", "transposed", "strided", "strided_rows", "offset")
#: A kernel that is left out of the smoke tier is slow to start, for each new shape: it is shown fewer.
SLOW_SHARE = 4


class _CaughtError(Exception):
    """A drawn case failed; carries the trial and its verdict out of hypothesis."""

    def __init__(self, trial: Trial, verdict: Verdict) -> None:
        super().__init__(trial.case.id)
        self.trial = trial
        self.verdict = verdict


def search(
    trial: Trial,
    draw: Draw,
    judge: Callable[[Trial], Verdict],
    *,
    applies: Callable[[Trial], str],
    check: Callable[[Trial], str],
) -> Verdict:
    """PASS if none of the cases that `draw` makes fails; else the verdict of the smallest failing one, and its command.

    `draw` takes the trial, hypothesis's data and its strategies, and returns the trial at a drawn case; smaller sizes
    and earlier choices are simpler. `applies` says why a drawn case is none for this kernel, or ""; `check` names the
    check that judges a case alike, for the command that replays it.
    """
    tally: dict[Outcome, int] = {}
    unsuited: set[str] = set()
    key = _key(trial, draw)
    try:
        if not _replayed(trial, _walked.get(key, ()), judge, applies, tally, unsuited):
            tally.clear()
            drawn = _search(trial, draw, judge, applies, check, tally, unsuited)
            _walked[key] = drawn
            if len(_walked) > KEPT:
                del _walked[next(iter(_walked))]
    except _CaughtError as caught:
        case, found, name = caught.trial.case, caught.verdict, check(caught.trial)
        # The run's command replays what these notes name.
        shrunk = {"shrunk check": name, "shrunk case": case.id, "shrunk seed": str(caught.trial.seed)}
        reason = f"{found.reason}\nshrunk to check {name}, case {case.id}, seed {caught.trial.seed}"
        return replace(found, reason=reason, notes={**found.notes, **shrunk})
    if not tally:
        return Verdict(Outcome.NOT_TESTED, f"no drawn case suits the kernel: {'; '.join(sorted(unsuited)[:3])}")
    passed, vacuous = tally.get(Outcome.PASS, 0), tally.get(Outcome.VACUOUS, 0)
    if set(tally) == {Outcome.UNSUPPORTED}:
        return Verdict(Outcome.UNSUPPORTED, f"the kernel supports none of {tally[Outcome.UNSUPPORTED]} drawn cases")
    if not passed:
        return Verdict(Outcome.VACUOUS, f"none of {sum(tally.values())} drawn cases could be judged")
    note = f"{passed} cases passed, {vacuous} vacuous, {sum(tally.values()) - passed - vacuous} not judged"
    return Verdict(Outcome.PASS, note, float(passed), notes={"hunt": note})


#: Kernels whose drawn cases are kept for others like them, and those cases, by `_key`.
KEPT = 16
_walked: dict[tuple[Draw, str], tuple[tuple[Trial, bool], ...]] = {}


def _key(trial: Trial, draw: Draw) -> tuple[Draw, str]:
    """What cases are drawn by: the hunt, and all of the trial but what the kernel is called, does and promises."""
    alike = replace(trial.kernel, name="any/kernel", run=_key, contract=Contract())
    return draw, repr((alike, trial.formats, trial.device, trial.case, trial.seed, trial.tier))


def _replayed(
    trial: Trial,
    walked: Sequence[tuple[Trial, bool]],
    judge: Callable[[Trial], Verdict],
    applies: Callable[[Trial], str],
    tally: dict[Outcome, int],
    unsuited: set[str],
) -> bool:
    """Whether the kernel holds in the cases drawn for one like it: hypothesis would draw the same ones, but slowly.

    False where there are none; where another contract suits other ones of them, for what is drawn next depends on it;
    and where one fails, which is for hypothesis to find again and to shrink.
    """
    own = [replace(other, kernel=trial.kernel, contract=trial.contract, settings=trial.settings) for other, _ in walked]
    reasons = [applies(drawn) for drawn in own]
    if [not why for why in reasons] != [suited for _, suited in walked]:
        return False
    unsuited.update(why for why in reasons if why)
    for drawn, why in zip(own, reasons, strict=True):
        if not why:
            outcome = judge(drawn).outcome
            if outcome.failed:
                return False
            tally[outcome] = tally.get(outcome, 0) + 1
    return bool(walked)


def draw_batch(trial: Trial, data: Any, st: Any) -> int | None:
    """How many matrices a case has, or None for a single one without that dimension."""
    batch: int | None = data.draw(st.sampled_from((None, 1, 2, 5))) if "batch" in trial.kernel.features else None
    return batch


def draw_layout(data: Any, st: Any, kinds: Mapping[str, Sequence[str]]) -> str:
    """A case's layout: for each operand one of its kinds, "contiguous" the first of them."""
    pairs = [(name, data.draw(st.sampled_from(tuple(kinds[name])))) for name in kinds]
    return "+".join(f"{name}:{kind}" for name, kind in pairs if kind != "contiguous") or "contiguous"


def has_hunt(trial: Trial) -> str:
    """Why nothing can be searched here, or ""."""
    return "" if find_spec("hypothesis") else "hypothesis is not installed: pip install hypothesis"


def _search(
    trial: Trial,
    draw: Draw,
    judge: Callable[[Trial], Verdict],
    applies: Callable[[Trial], str],
    check: Callable[[Trial], str],
    tally: dict[Outcome, int],
    unsuited: set[str],
) -> tuple[tuple[Trial, bool], ...]:
    """The drawn cases, of which none failed, and whether each suits the kernel; raises _CaughtError otherwise."""
    import hypothesis
    from hypothesis import strategies as st

    settings = hypothesis.settings(
        max_examples=EXAMPLES[trial.tier] // (1 if trial.kernel.tier == "smoke" else SLOW_SHARE),
        database=None,  # a run depends on its seed alone
        deadline=None,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )

    failures: list[_CaughtError] = []
    walked: list[tuple[Trial, bool]] = []
    # A failure that is a known finding where it is judged on its own is passed over, or it would hide all others.
    known = trial.settings.get("known", lambda name, drawn, outcome: False)

    @hypothesis.seed(trial.seed)
    @settings
    @hypothesis.given(st.data())
    def walk(data: Any) -> None:
        drawn = draw(trial, data, st)
        why = applies(drawn)
        walked.append((drawn, not why))
        if why:
            unsuited.add(why)
            hypothesis.reject()
        verdict = judge(drawn)
        tally[verdict.outcome] = tally.get(verdict.outcome, 0) + 1
        if verdict.outcome.failed and not known(check(drawn), drawn, verdict.outcome):
            failures.append(_CaughtError(drawn, verdict))
            raise failures[-1]

    try:
        walk()
    except hypothesis.errors.Unsatisfiable:  # every drawn case was left out; `unsuited` says why
        return ()
    except hypothesis.errors.Flaky:  # the same case passes when it is tried again: the failure that was seen counts
        if not failures:
            raise
        raise failures[0] from None
    return tuple(walked)
