"""The probes on devices that differ from known ones in one parameter: each is told from the one that it came from."""

import pytest

from lastbit.suites.meta.probed_devices import access, perturbed
from lastbit.suites.meta.test_probes_devices import HIDDEN, wrong
from lastbit.suites.probes.sheet import findings

DEVICES = perturbed()
#: Without subnormal operands the products of 8 bits with 4 exponent bits span 2^28, too few for 64 terms and 24 bits.
NARROW = ("b200 e4m3fn flush", "mi300 e4m3fnuz flush")


@pytest.mark.parametrize("name", DEVICES)
def test_a_changed_parameter_is_recovered(name):
    model, operands, out = DEVICES[name]
    found = findings(access(model, operands, out))
    if name in NARROW:
        assert found.model is None
        assert "too narrow" in found.answers["tree"].indeterminate_reason
        return
    assert found.model is not None, found.missing
    for field, values in wrong(model, found.model.accumulator).items():
        assert field in HIDDEN, f"{field} is {values[0]}, found {values[1]}"
        hiding = found.answers[HIDDEN[field]]
        assert hiding.value is None or hiding.value == "exact", f"{field} is {values[0]}, found {values[1]}"
