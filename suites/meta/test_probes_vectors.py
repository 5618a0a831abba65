"""Models recovered from probes against recorded hardware: what a datasheet says of a device is what the device did."""

import numpy as np
import pytest

from lastbit.references.accumulators import Accumulator
from lastbit.suites.meta.probed_devices import access
from lastbit.suites.meta.test_accumulators import RECORDED, bits, recorded
from lastbit.suites.probes.sheet import findings


@pytest.mark.parametrize("file", RECORDED)
def test_recovered_models_reproduce_recorded_gpu_results(file):
    """The probes see a simulated device alone; the model that they make is then held against the GPU's own results."""
    a, b, c, d = recorded(file)
    device, fmt = RECORDED[file]
    found = findings(access(Accumulator.of(device, fmt), fmt, "f32"))
    assert found.model is not None, found.missing
    assert len(d) == 2500
    np.testing.assert_array_equal(bits(found.model.dot(a, b, c)), bits(d))
