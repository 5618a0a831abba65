"""The zoo holds what it says: every class has a kernel, names are unique, builds are fresh, and a sample is caught."""

import re

import pytest

from lastbit.errors import UsageError
from lastbit.suites.law import checks
from lastbit.suites.zoo.collection import classes, fault_class, faulty, specimen, variants
from lastbit.suites.zoo.score import jobs, score, sightings
from lastbit.suites.zoo.specimen import Faulty

IDS = tuple(f"F{number:03}" for number in range(1, 101))


def test_classes_are_those_of_the_reference_in_order() -> None:
    assert tuple(one.id for one in classes()) == IDS
    for one in classes():
        assert all((one.where, one.mechanism, one.trigger)), one.id
        assert re.fullmatch(r"[^.]*", one.left_out) or one.left_out.endswith("."), "a reason is a clause or a sentence"


def test_every_class_has_a_kernel_or_a_reason() -> None:
    held = {one.fault for one in faulty()} | {one.id for one in classes() if one.left_out}
    assert held == set(IDS)


def test_classes_that_are_left_out_have_no_kernel() -> None:
    left_out = {one.id for one in classes() if one.left_out}
    assert [one.name for one in faulty() if one.fault in left_out] == []


def test_names_are_unique_and_lead_to_their_kernel() -> None:
    everything = (*faulty(), *variants())
    assert len({one.name for one in everything}) == len(everything)
    for one in everything:
        assert specimen(one.name) is one
        assert one.build().name == one.kernel_name


def test_faults_name_their_class_tell_a_story_and_checks_of_their_law() -> None:
    for one in faulty():
        assert one.fault in IDS
        assert one.story.endswith("."), one.name
        known = {check.name for check in checks(one.build().op)}
        assert one.checks, one.name
        assert one.checks <= known, one.name


def test_there_are_sixty_correct_variants_each_with_a_story() -> None:
    assert len(variants()) >= 60
    assert [one.name for one in variants() if not one.story.endswith((".", ":"))] == []


def test_build_of_a_kernel_with_a_memory_is_fresh() -> None:
    one = specimen("gemm-tires_after_3-f32")
    assert one.build().run is not one.build().run


def test_unknown_name_and_class_are_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="no kernel 'nobody'"):
        specimen("nobody")
    with pytest.raises(UsageError, match="expected F001 to F100"):
        fault_class("F999")
    assert fault_class("f042").id == "F042"


SAMPLE = ("gemm-drops_half_tile-bf16", "gemm-wavers-bf16", "gemm-lazy-f32", "softmax-swallows_nan-f32")


def test_sample_of_faults_is_caught_and_of_variants_is_not() -> None:
    chosen = [specimen(name) for name in (*SAMPLE, "gemm-in_f64-f32", "softmax-lanes-f32")]
    found = score(chosen, "smoke", (3,), workers=1)
    assert [one.specimen for one in found] == [one.name for one in chosen], "in the order of the specimens"
    assert [one.caught for one in found] == [True] * len(SAMPLE) + [False] * 2
    for one in found[: len(SAMPLE)]:
        fault = specimen(one.specimen)
        assert isinstance(fault, Faulty)
        assert one.check in fault.checks
        assert one.case
        assert one.reason
        assert one.judged >= 1
    assert found[-1].judged > found[0].judged, "a right kernel is judged to the end of the law"


def test_jobs_hold_every_specimen_once_for_each_seed_with_one_op_and_formats() -> None:
    chosen = (*faulty(), *variants())
    todo = jobs(chosen, "smoke", (0, 7))
    for seed in (0, 7):
        assert sorted(name for job in todo if job.seed == seed for name in job.names) == sorted(o.name for o in chosen)
    for job in todo:
        built = [specimen(name).build() for name in job.names]
        assert len({(kernel.op, str(kernel.format_sets)) for kernel in built}) == 1


def test_a_kernel_that_fails_is_not_called_again() -> None:
    job = jobs([specimen("gemm-zeros-f32")], "smoke", (0,))[0]
    (found,) = sightings(job, [specimen("gemm-zeros-f32")])
    assert (found.check, found.judged) == ("exact", 1)
