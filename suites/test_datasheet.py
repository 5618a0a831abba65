"""Datasheets by pytest: every GEMM kernel that is found is probed, and held against what its contract promises.

`pytest suites/test_datasheet.py`, or `pytest --pyargs lastbit.suites.test_datasheet`, with the options of every run.
"""

from collections.abc import Mapping

import pytest

from lastbit import discovery
from lastbit.errors import LastbitError
from lastbit.kernel import Kernel, formats_text
from lastbit.session_options import read
from lastbit.suites.probes.access import AccessError
from lastbit.suites.probes.kernel_sheet import kernel_sheet
from lastbit.suites.probes.promises import broken


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each GEMM kernel, formats and device that the run's options choose."""
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
        if kernel.op == "gemm"
        for formats in kernel.format_sets
        for device in devices
        if device.partition(":")[0] in kernel.devices
    ]
    ids = [f"{kernel.name} {formats_text(formats)} {device}" for kernel, formats, device in chosen]
    metafunc.parametrize(("kernel", "formats", "device"), chosen, ids=ids)


def test_datasheet(kernel: Kernel, formats: Mapping[str, str], device: str) -> None:
    """What the probes find keeps the kernel's promises."""
    try:
        found = broken(kernel_sheet(kernel, formats, device), kernel, formats, device)
    except AccessError as error:
        pytest.fail(str(error), pytrace=False)
    if found:
        pytest.fail("\n".join(found), pytrace=False)
