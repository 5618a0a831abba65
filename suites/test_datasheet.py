"""Datasheets by pytest: kernels of every op that has probes are held against what their contracts promise.

`pytest suites/test_datasheet.py`, or `pytest --pyargs lastbit.suites.test_datasheet`, with the options of every run.
"""

from collections.abc import Mapping

import pytest

from lastbit import discovery
from lastbit.environment import environment
from lastbit.errors import LastbitError
from lastbit.kernel import Kernel, formats_text
from lastbit.policy import load
from lastbit.scaled_operands import scaling_of
from lastbit.session_options import read
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.promises import broken_promises, known_as
from lastbit.suites.probes.record import SHEETS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each kernel with probes, formats and device that the run's options choose."""
    options = read(metafunc.config)
    hooked = discovery.hooked(lambda: metafunc.config.hook.pytest_lastbit_kernels(config=metafunc.config))
    try:
        kernels = discovery.find(options.kernels, options.only, hooked).kernels
    except LastbitError as error:
        raise pytest.Collector.CollectError(f"lastbit: {error}") from None
    devices = options.device or discovery.devices_found(kernels)
    chosen = [
        (kernel, formats, device)
        for kernel in kernels
        if kernel.op in SHEETS and not (kernel.op == "quantize" and scaling_of(kernel).rule == "given")
        for formats in kernel.format_sets
        for device in devices
        if device.partition(":")[0] in kernel.devices
    ]
    ids = [f"{kernel.name} {formats_text(formats)} {device}" for kernel, formats, device in chosen]
    metafunc.parametrize(("kernel", "formats", "device"), chosen, ids=ids)


def test_datasheet(kernel: Kernel, formats: Mapping[str, str], device: str) -> None:
    """What the probes find keeps the kernel's promises, or is a known finding."""
    try:
        found = broken_promises(kernel, formats, device)
    except AccessError as error:
        pytest.fail(str(error), pytrace=False)
    rows, where = load().findings, environment((device,))
    ids = {name: known_as(kernel, formats, device, name, rows, where) for name in found}
    if news := [text for name, text in found.items() if not ids[name]]:
        pytest.fail("\n".join(news), pytrace=False)
    if found:
        pytest.xfail("; ".join(f"{ids[name]}: {text}" for name, text in found.items()))
