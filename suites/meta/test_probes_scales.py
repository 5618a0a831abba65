"""The probes of quantizers: every named scaling is recovered; a change of the rule flips its own line alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.providers.simulated_quantize import SimulatedQuantizer, StochasticQuantizer
from lastbit.references.scaling import Scaling
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.op_access import asker
from lastbit.suites.probes.op_sheet import PROBES
from lastbit.suites.zoo.quantize_variants import VARIANTS

#: Blocks of 128 rows and columns take seconds, and differ in nothing else.
NAMES = [name for name in Scaling.names() if "block128" not in name and Scaling.of(name).rule != "given"]
QUOTIENTS = ("amax_over_max", "affine_min_max")


def answers(kernel: Kernel) -> dict[str, Any]:
    """The values of all answers in the kernel's first formats."""
    found = PROBES["quantize"](asker(kernel, kernel.format_sets[0], "cpu"))
    assert all(answer.evidence or answer.indeterminate_reason for answer in found)
    return {answer.property: answer.value for answer in found}


def probed(scaling: Scaling, x: str = "f32", declared: Scaling | None = None) -> dict[str, Any]:
    """What the probes find of a quantizer by the book that says it is `declared`."""
    features = frozenset({"batch"})
    kernel = Kernel(
        "mine/quantize",
        "quantize",
        SimulatedQuantizer(scaling),
        {"x": x},
        Contract(),
        framework="numpy",
        devices=("cpu",),
        features=features,
        scaling=declared or scaling,
    )
    return answers(kernel)


@pytest.mark.parametrize("name", NAMES)
def test_every_named_scaling_is_recovered(name):
    scaling = Scaling.of(name)
    found = probed(scaling)
    rule = found["scale_rule"]
    if scaling.rule in ("floor", "ceil", "even", "rceil"):
        assert rule == scaling.rule or (rule is None and name.startswith("mxint8"))
    elif scaling.rule == "amax_over_max":
        assert rule == f"amax / {scaling.largest:g}"
    elif scaling.rule == "affine_min_max":
        assert rule == f"(max - min) / {scaling.largest:g}"
    elif scaling.rule == "signed_amax":
        assert str(rule).startswith("amax with")
    else:
        assert rule is None
    assert found["quotient"] in (scaling.arithmetic, None)
    assert found["element_rounding"] in (scaling.rounding, None)
    if "scale_rounding" in found:
        assert found["scale_rounding"] in (scaling.scale_rounding, None)


@pytest.mark.parametrize(
    ("name", "property", "change", "value"),
    [
        ("mxfp8_e4m3", "scale_rule", {"rule": "ceil"}, "ceil"),
        ("mxfp8_e4m3", "scale_rule", {"rule": "even"}, "even"),
        ("mxfp4", "scale_rule", {"rule": "even"}, "even"),
        ("mxfp8_e4m3", "element_rounding", {"rounding": "toward-zero"}, "toward-zero"),
        ("mxfp4", "element_rounding", {"rounding": "nearest-away"}, "nearest-away"),
        ("i8_row", "element_rounding", {"rounding": "nearest-away"}, "nearest-away"),
        ("i8_row", "quotient", {"arithmetic": "reciprocal"}, "reciprocal"),
        ("i8_row", "scale_rule", {"largest": 127.5}, "amax / 127.5"),
        ("nvfp4_divide", "scale_rounding", {"scale_rounding": "up"}, "up"),
        ("i8_row", "zero_block", {"zero_scale": None}, None),
    ],
)
def test_one_change_flips_its_line_alone(name, property, change, value):
    scaling = Scaling.of(name)
    first, second = probed(scaling), probed(replace(scaling, **change), declared=scaling)
    other = {key for key in first if first[key] != second[key]}
    assert property in other
    assert other <= {property, "tiny_block"} | ({"infinite_block"} if "rule" in change else set())
    if value is not None:
        assert second[property] == value


def test_powers_of_two_hide_the_arithmetic():
    assert probed(Scaling.of("mxfp8_e4m3"))["quotient"] is None


def test_a_stochastic_quantizer_is_told():
    scaling = Scaling.of("mxfp4")
    kernel = Kernel(
        "mine/stochastic",
        "quantize",
        StochasticQuantizer(scaling),
        {"x": "f32"},
        Contract(output_rounding="stochastic", deterministic=False),
        framework="numpy",
        scaling=scaling,
    )
    assert answers(kernel)["element_rounding"] == "stochastic"


def test_another_multiple_is_no_rule_that_is_known():
    scaling = replace(Scaling.of("i8_row"), name="odd", largest=100.0)
    assert probed(scaling)["scale_rule"] is None


def test_given_scales_have_no_rule():
    with pytest.raises(AccessError, match="its scales are given"):
        probed(Scaling.of("i8_affine_torch"))


@pytest.mark.parametrize(
    "name", ["quantize-mxfp4_thresholds", "quantize-mxfp4_ceil", "quantize-i8_half_away", "quantize-mxfp8_swizzled"]
)
def test_right_variants_of_the_zoo_are_what_they_say(name):
    kernel = next(one for one in VARIANTS if one.name.startswith(name)).build()
    found = answers(kernel)
    assert found["element_rounding"] == ("nearest-away" if "half_away" in name else "nearest-even")
    if "mxfp" in name:
        assert found["scale_rule"] == ("ceil" if "ceil" in name else "floor")


def test_scales_are_read_in_every_granularity():
    scaling = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_down", axis=-2)
    assert probed(scaling)["scale_rule"] == "floor"
    small = replace(Scaling.of("fp8_block128"), name="fp8_block8", block=(8, 4))
    found = probed(small)
    assert (found["scale_rule"], found["quotient"]) == ("amax / 448", "divide")


def test_a_rule_of_nobody_is_told_by_where_its_scales_double():
    scaling = Scaling.of("mxfp8_e4m3")

    def run(x: Any) -> Any:
        """Scales by floor, doubled for numbers that double already from a significand of 1.3 on."""
        codes, scale = SimulatedQuantizer(replace(scaling, rule="floor"))(x)
        amax = np.abs(x).reshape(*x.shape[:-1], -1, 32).max(-1)
        return codes, (scale.astype(np.float32) * np.where(np.frexp(amax)[0] * 2 >= 1.3, 2, 1)).astype(scale.dtype)

    kernel = Kernel("mine/odd", "quantize", run, {"x": "f32"}, framework="numpy", devices=("cpu",), scaling=scaling)
    assert answers(kernel)["scale_rule"] == f"2^-8, doubled from {float(np.float32(1.3))!r}"
