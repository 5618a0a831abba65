"""The GEMM check that searches: hypothesis draws sizes, layouts, batch, data and seed, and shrinks what fails."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from lastbit.case import Case, Trial
from lastbit.kernel import limit_of
from lastbit.references.data import RECIPES
from lastbit.suites.gemm_structure import layout as judge_case
from lastbit.suites.gemm_trial import has_data
from lastbit.verdict import Outcome, Verdict

EXAMPLES = {"smoke": 20, "standard": 60, "full": 1000}
#: A kernel that is left out of the smoke tier is slow to start, for each new shape: it is shown fewer.
SLOW_SHARE = 4
#: Largest m*n*k drawn for a kernel without a limit of its own: a sum stays long enough to matter, a call short.
VOLUME = 200_000
LARGEST = 130
OPERAND_LAYOUTS = ("contiguous", "transposed", "strided", "strided_rows", "offset")


class _CaughtError(Exception):
    """A drawn case failed; carries the trial and its verdict out of hypothesis."""

    def __init__(self, trial: Trial, verdict: Verdict) -> None:
        super().__init__(trial.case.id)
        self.trial = trial
        self.verdict = verdict


def hunt(trial: Trial) -> Verdict:
    """PASS if none of the drawn cases fails; else the verdict of the smallest failing one, with its command."""
    tally: dict[Outcome, int] = {}
    try:
        _search(trial, tally)
    except _CaughtError as caught:
        case, found = caught.trial.case, caught.verdict
        check = "exact" if RECIPES[case.recipe].exact else "bound"
        # The run's command replays what these notes name.
        shrunk = {"shrunk check": check, "shrunk case": case.id, "shrunk seed": str(caught.trial.seed)}
        reason = f"{found.reason}\nshrunk to check {check}, case {case.id}, seed {caught.trial.seed}"
        return replace(found, reason=reason, notes={**found.notes, **shrunk})
    passed, vacuous = tally.get(Outcome.PASS, 0), tally.get(Outcome.VACUOUS, 0)
    if not passed:
        return Verdict(Outcome.VACUOUS, f"none of {sum(tally.values())} drawn cases could be judged")
    note = f"{passed} cases passed, {vacuous} vacuous, {sum(tally.values()) - passed - vacuous} not judged"
    return Verdict(Outcome.PASS, note, float(passed), notes={"hunt": note})


def has_hunt(trial: Trial) -> str:
    """Why nothing can be searched here, or ""."""
    return "" if find_spec("hypothesis") else "hypothesis is not installed: pip install hypothesis"


def _search(trial: Trial, tally: dict[Outcome, int]) -> None:
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

    @hypothesis.seed(trial.seed)
    @settings
    @hypothesis.given(st.data())
    def walk(data: Any) -> None:
        drawn = _draw(trial, data, st)
        hypothesis.assume(not has_data(drawn))
        verdict = judge_case(drawn)
        tally[verdict.outcome] = tally.get(verdict.outcome, 0) + 1
        if verdict.outcome.failed:
            raise _CaughtError(drawn, verdict)

    walk()


def _draw(trial: Trial, data: Any, st: Any) -> Trial:
    """A trial of the same kernel at a drawn case; smaller sizes, earlier recipes and plain layouts are simpler."""
    volume = min(limit_of(trial.kernel, trial.formats) or VOLUME, VOLUME)
    batch = data.draw(st.sampled_from((None, 1, 2, 5))) if "batch" in trial.kernel.features else None
    volume //= batch or 1
    m = data.draw(st.integers(1, LARGEST))
    n = data.draw(st.integers(1, max(1, min(LARGEST, volume // m))))
    k = data.draw(st.integers(0, max(0, min(1024, volume // (m * n)))))
    recipe = data.draw(st.sampled_from(tuple(name for name in RECIPES if name != "near_overflow")))
    pairs = [(name, data.draw(st.sampled_from(OPERAND_LAYOUTS))) for name in ("a", "b")]
    layout = "+".join(f"{name}:{kind}" for name, kind in pairs if kind != "contiguous") or "contiguous"
    sizes = (*((("batch", batch),) if batch else ()), ("m", m), ("n", n), ("k", k))
    seed = data.draw(st.integers(0, 2**16))
    return replace(trial, case=Case(recipe, sizes, layout), seed=seed)
