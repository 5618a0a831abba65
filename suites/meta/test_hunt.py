"""The search of the laws: what it draws, what it catches and shrinks, and how it ends when nothing can be judged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.case import Case, Check, Trial
from lastbit.contract import Contract, resolved
from lastbit.kernel import Kernel
from lastbit.session import judge as judge_check
from lastbit.suites import gemm_hunt, hunt, softmax_hunt
from lastbit.suites.hunt import search
from lastbit.verdict import Outcome, Verdict

F32 = {"a": "f32", "b": "f32", "out": "f32"}
FEATURES = frozenset({"batch", "c", "alpha", "beta", "bias", "out"})
Run = Callable[..., Any]


def trial(run: Run, op: str = "gemm", formats: dict[str, str] = F32, features: frozenset[str] = FEATURES) -> Trial:
    kernel = Kernel("mine/one", op, run, formats, framework="numpy", devices=("cpu",), features=features)
    case = Case("normal", (("m", 1), ("n", 1), ("k", 1)))
    return Trial(kernel, formats, resolved(Contract(), formats), "cpu", case, tier="standard")


def gemm(a: Any, b: Any, *, c: Any = None, bias: Any = None, alpha: float = 1, beta: float = 1, out: Any = None) -> Any:
    result = alpha * np.matmul(a.astype(np.float64), b.astype(np.float64))
    if c is not None and beta != 0:
        result = result + beta * c.astype(np.float64)
    if bias is not None:
        result = result + bias
    out[...] = result
    return out


def test_honest_kernel_with_every_feature_passes_and_meets_each_of_them() -> None:
    seen: set[str] = set()

    def watched(a: Any, b: Any, **options: Any) -> Any:
        seen.update(name for name, value in options.items() if value is not None)
        strides = zip(a.strides, a.shape, strict=True)
        seen.update("reversed" if stride < 0 else "broadcast" for stride, size in strides if stride <= 0 and size > 1)
        seen.update(f"no {name}" for name, size in (("m", a.shape[-2]), ("n", b.shape[-1])) if not size)
        if not options["out"].flags.c_contiguous:
            seen.add("out layout")
        if options.get("beta") == 0:
            seen.add("beta of zero")
        return gemm(a, b, **options)

    for seed in range(3):
        assert gemm_hunt.hunt(replace(trial(watched), seed=seed)).outcome is Outcome.PASS
    assert seen >= {"c", "bias", "alpha", "beta", "out", "beta of zero", "out layout", "reversed", "broadcast"}
    assert seen >= {"no m", "no n"}


def reads_c(a: Any, b: Any, **options: Any) -> Any:
    out = gemm(a, b, **options)
    if "c" in options and options.get("beta") == 0:
        out[...] = out + 0 * options["c"]
    return out


def forgets_bias(a: Any, b: Any, **options: Any) -> Any:
    return gemm(a, b, **{**options, "bias": None})


def alpha_on_bias(a: Any, b: Any, **options: Any) -> Any:
    out, alpha, bias = gemm(a, b, **options), options.get("alpha", 1), options.get("bias")
    if bias is not None:
        out[...] = out + (alpha - 1) * bias
    return out


def writes_rows_together(a: Any, b: Any, *, out: Any, **options: Any) -> Any:
    """As if `out` were contiguous."""
    memory = out if not out.size else np.ndarray(out.shape, out.dtype, buffer=out.base, offset=offset(out))
    gemm(a, b, out=memory, **options)
    return out


def offset(out: Any) -> int:
    return int(out.__array_interface__["data"][0] - out.base.__array_interface__["data"][0])


def reads_forward(a: Any, b: Any, **options: Any) -> Any:
    return gemm(a[::-1] if a.strides[-2] < 0 and a.ndim == 2 else a, b, **options)


def reads_a_broadcast_batch(a: Any, b: Any, **options: Any) -> Any:
    return gemm(a, b * 2 if b.ndim == 3 and b.strides[0] == 0 and len(b) > 1 else b, **options)


def leaves_empty_sums(a: Any, b: Any, **options: Any) -> Any:
    if not a.shape[-1]:
        options["out"][...] = 7
        return options["out"]
    return gemm(a, b, **options)


FAULTS = {
    "reads c although beta is 0": (reads_c, "beta=0"),
    "forgets the bias": (forgets_bias, "bias=1"),
    "multiplies the bias by alpha": (alpha_on_bias, "alpha="),
    "ignores the strides of out": (writes_rows_together, "out:"),
    "ignores negative strides": (reads_forward, "a:reversed"),
    "mistakes a broadcast operand": (reads_a_broadcast_batch, "b:broadcast"),
    "leaves sums of nothing as they were": (leaves_empty_sums, "k0"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught_and_shrunk_to_what_shows_it(name: str) -> None:
    run, part = FAULTS[name]
    found = [gemm_hunt.hunt(replace(trial(run), seed=seed)) for seed in range(3)]
    failed = [verdict for verdict in found if verdict.outcome.failed]
    assert failed, name
    for verdict in failed:
        case = verdict.notes["shrunk case"]
        assert part in case
        assert max(size for _, size in Case.parse(case).sizes if isinstance(size, int)) <= 4, "small enough to read"


def test_shrunk_case_is_replayed_by_the_check_that_it_names() -> None:
    from lastbit.suites.gemm import CHECKS

    checks = {check.name: check for check in CHECKS}
    for run, _ in FAULTS.values():
        for seed in range(3):
            verdict = gemm_hunt.hunt(replace(trial(run), seed=seed))
            if not verdict.outcome.failed:
                continue
            notes = verdict.notes
            again = replace(trial(run), case=Case.parse(notes["shrunk case"]), seed=int(notes["shrunk seed"]))
            assert checks[notes["shrunk check"]].judge(again).outcome is verdict.outcome


def test_softmax_search_meets_broadcast_and_empty_rows() -> None:
    shapes: set[str] = set()

    def watched(x: Any) -> Any:
        shapes.update("empty" for size in x.shape if not size)
        shapes.update("broadcast" for stride, size in zip(x.strides, x.shape, strict=True) if not stride and size > 1)
        wide = x.astype(np.float64)
        if not x.size:
            return np.zeros(x.shape, x.dtype)
        weights = np.exp(wide - wide.max(-1, keepdims=True))
        return (weights / weights.sum(-1, keepdims=True)).astype(x.dtype)

    formats = {"x": "f32", "out": "f32"}
    for seed in range(3):
        one = replace(trial(watched, "softmax", formats, frozenset({"batch"})), seed=seed)
        one = replace(one, contract=replace(one.contract, masked_row="nan"))
        with np.errstate(all="ignore"):
            assert not softmax_hunt.hunt(one).outcome.failed
    assert shapes == {"empty", "broadcast"}


def drawn(trial: Trial, data: Any, st: Any) -> Trial:
    size = data.draw(st.integers(1, 9))
    return replace(trial, case=Case("normal", (("m", size), ("n", 1), ("k", 1))))


def hunted(judge: Callable[[Trial], Verdict], applies: Callable[[Trial], str] = lambda trial: "") -> Verdict:
    return search(trial(gemm), drawn, judge, applies=applies, check=lambda trial: "bound")


def test_search_without_a_case_that_suits_says_why() -> None:
    verdict = hunted(lambda trial: Verdict(Outcome.PASS), lambda trial: "the kernel has no data")
    assert verdict.outcome is Outcome.NOT_TESTED
    assert verdict.reason == "no drawn case suits the kernel: the kernel has no data"


def test_failure_that_passes_when_it_is_tried_again_counts() -> None:
    calls: list[int] = []

    def judge(trial: Trial) -> Verdict:
        calls.append(1)
        return Verdict(Outcome.OVER_BUDGET if len(calls) == 3 else Outcome.PASS, "the third call")

    verdict = hunted(judge)
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert "the third call" in verdict.reason


def test_exception_that_does_not_come_again_is_an_error_of_lastbit_with_its_text() -> None:
    calls: list[int] = []

    def judge(trial: Trial) -> Verdict:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no memory left")
        return Verdict(Outcome.PASS)

    record = judge_check(Check("hunt", "gemm", (), lambda trial: hunted(judge), lambda trial: "", "why"), trial(gemm))
    assert record.outcome is Outcome.ERROR
    assert "no memory left" in record.reason


def recorded(seen: list[tuple[str, int]], start: Trial) -> tuple[Trial, Verdict]:
    """The trial of a kernel alike that notes what it is called with, and its hunt's verdict."""

    def watched(a: Any, b: Any, **options: Any) -> Any:
        seen.append((f"{a.shape} {b.shape}", int(np.ascontiguousarray(a).view(np.uint32).sum(dtype=np.uint64))))
        return gemm(a, b, **options)

    one = replace(start, kernel=replace(start.kernel, run=watched))
    return one, gemm_hunt.hunt(one)


def test_kernels_alike_are_shown_the_same_cases_as_if_they_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: dict[str, Any] = {}
    monkeypatch.setattr(hunt, "_walked", walked)
    first: list[tuple[str, int]] = []
    _, verdict = recorded(first, trial(gemm))
    assert len(walked) == 1
    monkeypatch.setattr(hunt, "_search", lambda *given: pytest.fail("the cases were drawn again"))
    other = replace(trial(gemm).kernel, name="mine/other")
    second: list[tuple[str, int]] = []
    _, again = recorded(second, replace(trial(gemm), kernel=other))
    assert second == first
    assert again.reason == verdict.reason


def drops_odd_k(a: Any, b: Any, **options: Any) -> Any:
    """Odd sums of more than eight lose their last product."""
    k = a.shape[-1] - (a.shape[-1] % 2 if a.shape[-1] > 8 else 0)
    return gemm(a[..., :k], b[..., :k, :], **options)


def test_wrong_kernel_after_a_right_one_alike_has_the_verdict_that_it_has_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hunt, "_walked", {})
    alone = gemm_hunt.hunt(trial(drops_odd_k))
    recorded([], trial(gemm))
    after = gemm_hunt.hunt(trial(drops_odd_k))
    assert alone.outcome.failed
    assert (after.outcome, after.reason, after.notes) == (alone.outcome, alone.reason, alone.notes)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, seed=1),
        lambda one: replace(one, tier="smoke"),
        lambda one: replace(one, kernel=replace(one.kernel, features=FEATURES - {"c"})),
    ],
    ids=["seed", "tier", "features"],
)
def test_another_seed_tier_or_feature_draws_anew(
    change: Callable[[Trial], Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: dict[str, Any] = {}
    monkeypatch.setattr(hunt, "_walked", walked)
    recorded([], trial(gemm))
    recorded([], change(trial(gemm)))
    assert len(walked) == 2


def test_another_hunt_of_the_same_kernel_draws_cases_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: dict[Any, Any] = {}
    monkeypatch.setattr(hunt, "_walked", walked)
    start = trial(gemm)

    def draws(recipe: str) -> Callable[[Trial, Any, Any], Trial]:
        return lambda one, data, st: replace(
            one, case=Case(recipe, start.case.sizes), seed=data.draw(st.integers(0, 9))
        )

    met: list[str] = []

    def judged(one: Trial) -> Verdict:
        met.append(one.case.recipe)
        return Verdict(Outcome.PASS, "")

    for recipe in ("normal", "uniform"):
        hunt.search(start, draws(recipe), judged, applies=lambda one: "", check=lambda one: "bound")
    assert set(met[: len(met) // 2]) == {"normal"}
    assert set(met[len(met) // 2 :]) == {"uniform"}
