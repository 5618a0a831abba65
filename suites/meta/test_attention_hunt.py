"""The searches of gradients and packed batches: what they meet, what they find and shrink, and how a pack is listed."""

from collections.abc import Callable
from typing import Any

import pytest

from lastbit.case import Case, Trial
from lastbit.contract import resolved
from lastbit.errors import UsageError
from lastbit.suites import attention_gradients_hunt, attention_packed_hunt
from lastbit.suites.attention import CHECKS
from lastbit.suites.attention_packed_trial import PATTERNS, lengths, listed
from lastbit.suites.zoo import attention_parts as zoo
from lastbit.suites.zoo import gradient_parts, packed_parts
from lastbit.suites.zoo.gradient_combined_faults import keys_off
from lastbit.suites.zoo.packed_combined_faults import scale_off
from lastbit.verdict import Outcome, Verdict

GRADIENTS = gradient_parts.FEATURES | {"mask_bias", "causal_mask"}
PACKED = packed_parts.FEATURES
Hunt = Callable[[Trial], Verdict]
KINDS: dict[str, tuple[Hunt, Any, frozenset[str]]] = {
    "gradients": (attention_gradients_hunt.hunt, gradient_parts.attend, frozenset(GRADIENTS)),
    "packed": (attention_packed_hunt.hunt, packed_parts.attend, PACKED),
}


def trial(run: Callable[..., Any], features: frozenset[str], case: str, seed: int = 0) -> Trial:
    kernel = zoo.kernel("hunted", run, zoo.F32, zoo.PLAIN, features)
    return Trial(kernel, zoo.F32, resolved(zoo.PLAIN, zoo.F32), "cpu", Case.parse(case), seed=seed, tier="standard")


def one(pack: str) -> Trial:
    case = f"sharp/batch1-hq1-hkv1-lq9-lk12-d16-dv16/pack={pack}"
    return trial(packed_parts.attend, PACKED, case)


ANY = "sharp/batch1-hq1-hkv1-lq1-lk1-d16-dv16"


@pytest.mark.parametrize("name", KINDS)
def test_right_kernel_passes_and_meets_every_feature(name: str) -> None:
    hunt, right, features = KINDS[name]
    seen: set[str] = set()

    def watched(q: Any, k: Any, v: Any, **options: Any) -> Any:
        seen.update(option for option, value in options.items() if value is not None)
        seen.update({"gqa"} if q.shape[1] != k.shape[1] else ())
        seen.update({"dv"} if v.shape[3] != q.shape[3] else ())
        seen.update({"whole tiles"} if k.shape[2] % 64 == 0 else ())
        seen.update(f"strided {other}" for other, x in options.items() if hasattr(x, "flags") and not x.flags.forc)
        mask = options.get("mask")
        seen.update({"additive_mask"} if mask is not None and mask.dtype.kind == "f" else ())
        if "cu_seqlens_q" in options:
            seen.update({"many sequences"} if len(options["cu_seqlens_q"]) > 9 else ())
        return right(q, k, v, **options)

    found = [hunt(trial(watched, features, ANY, seed)) for seed in range(2)]
    assert {verdict.outcome for verdict in found} == {Outcome.PASS}
    kinds = {"lse", "batch", "packed", "gradients", "causal_mask", "mask_bias"}
    assert seen >= features - kinds
    assert seen >= ({"many sequences", "strided cu_seqlens_q"} if name == "packed" else {"strided grad_out"})
    assert "whole tiles" in seen


FAULTS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "dk with gqa and a softcap": (
        "gradients",
        keys_off(lambda q, k, options: q.shape[1] != k.shape[1] and bool(options.get("softcap"))),
        ("softcap=",),
    ),
    "dk with a bias under a diagonal": (
        "gradients",
        keys_off(lambda q, k, options: options.get("bias") is not None and bool(options.get("causal"))),
        ("bias=", "causal="),
    ),
    "the scale of packs under a diagonal and a window": (
        "packed",
        scale_off(lambda q, k, options: bool(options.get("causal")) and bool(options.get("window"))),
        ("causal=", "window=", "pack="),
    ),
    "the scale of packs of more than four": (
        "packed",
        scale_off(lambda q, k, options: len(options["cu_seqlens_q"]) > 5),
        ("pack=",),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found_and_shrunk_to_a_case_that_fails_by_itself(name: str) -> None:
    kind, run, parts = FAULTS[name]
    hunt, _, features = KINDS[kind]
    verdict = next(found for seed in range(5) if (found := hunt(trial(run, features, ANY, seed))).outcome.failed)
    case, check = verdict.notes["shrunk case"], verdict.notes["shrunk check"]
    assert all(part in case for part in parts)
    assert dict(Case.parse(case).sizes)["batch"] == 1
    again = trial(run, features, case, int(verdict.notes["shrunk seed"]))
    checks = {check.name: check for check in CHECKS}
    assert checks[check].applies(again) == ""
    assert checks[check].judge(again).outcome is verdict.outcome


def test_pack_is_shrunk_to_the_sequences_that_show_the_fault() -> None:
    _, run, _ = FAULTS["the scale of packs of more than four"]
    found = (attention_packed_hunt.hunt(trial(run, PACKED, ANY, seed)) for seed in range(5))
    verdict = next(one for one in found if one.outcome.failed)
    assert len(lengths(trial(run, PACKED, verdict.notes["shrunk case"]))) == 5


def test_hunts_leave_kernels_without_the_feature_alone() -> None:
    checks = {check.name: check for check in CHECKS}
    for name, (_, right, _) in KINDS.items():
        reason = checks[f"{name}_hunt"].applies(trial(right, frozenset({"causal"}), ANY))
        assert reason == f"the kernel has no {name}"


def test_pack_is_a_pattern_or_a_list_of_lengths() -> None:
    for name, pattern in PATTERNS.items():
        found = lengths(one(name))
        assert found == pattern(9, 12)
        assert lengths(one(listed(found))) == found
    assert lengths(one("0x3+2x0")) == [(0, 3), (2, 0)]


@pytest.mark.parametrize("pack", ["nonsense", "3x", "3x5+", "3:5", "-1x2", "3x5+1"])
def test_pack_that_is_neither_is_a_usage_error(pack: str) -> None:
    with pytest.raises(UsageError, match="lengths such as 3x5"):
        lengths(one(pack))
