"""The probes on simulated devices: a datasheet recovers what a device was built with, or says why not."""

import pytest

from lastbit.references.accumulators import Accumulator
from lastbit.suites.meta.probed_devices import FIELDS, access, devices, plain
from lastbit.suites.probes.sheet import findings, sheet

DEVICES = devices() | plain()
#: Parameters that a kernel's answers cannot have: what the formats hide, by the property that says so.
HIDDEN = {"floor": "floor", "input_precision": "input_rounding", "fma": "fma", "input_emin": "subnormal_exponent"}


def wrong(built: Accumulator, found: Accumulator) -> dict[str, tuple[object, object]]:
    """The fields in which two accumulators differ."""
    return {
        name: (getattr(built, name), getattr(found, name))
        for name in FIELDS
        if getattr(built, name) != getattr(found, name)
    }


@pytest.mark.parametrize("name", DEVICES)
def test_parameters_are_recovered(name):
    model, operands, out = DEVICES[name]
    found = findings(access(model, operands, out), access(model, operands, out, 96))
    assert found.model is not None, found.missing
    for field, values in wrong(model, found.model.accumulator).items():
        assert field in HIDDEN, f"{field} is {values[0]}, found {values[1]}"
        hiding = found.answers[HIDDEN[field]]
        assert hiding.value is None or hiding.value == "exact", f"{field} is {values[0]}, found {values[1]}"
        assert hiding.indeterminate_reason or hiding.value == "exact"


@pytest.mark.parametrize("name", ["v100 f16", "h100 e4m3fn", "mi300 e4m3fnuz", "mi250 bf16", "f32 lanes"])
def test_models_are_confirmed(name):
    model, operands, out = DEVICES[name]
    made = sheet(access(model, operands, out), access(model, operands, out, 96))
    assert made.confirmation.confirmed
    assert made.confirmation.sums >= 10_000
    assert not made.confirmation.counterexample


def test_the_drawn_tree_is_the_devices():
    found = findings(access(Accumulator.of("h100", "f16"), "f16", "f32"))
    assert found.answers["tree"].value == "{{{{0..15}, 16..31}, 32..47}, 48..63}"
    assert found.answers["terms"].value == 16


def test_what_a_format_hides_is_said():
    """e2m1's products span 2^7: an f32 accumulator loses nothing of their sums, and no datasheet guesses its bits."""
    found = findings(access(Accumulator.of("f32"), "e2m1fn", "f32"))
    assert found.model is None
    assert found.answers["tree"].value == "exact"
    for name in ("terms", "fraction_bits", "precision", "rounding"):
        assert found.answers[name].value is None
        assert found.answers[name].indeterminate_reason


def test_exact_sums_are_called_exact():
    found = findings(access(Accumulator.of("exact"), "f16", "f32"))
    assert found.answers["tree"].value == "exact"
    assert found.answers["fraction_bits"].indeterminate_reason == "nothing is ever lost"
    assert found.model is None
    assert "no sum" in found.missing
