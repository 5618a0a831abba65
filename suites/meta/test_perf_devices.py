"""The GPU's clock on an invented device with two streams and a driver that tells clocks; the CPU's threads."""

import ctypes
import os
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lastbit.perf import devices, threads
from lastbit.perf.devices import CudaClock, clock, last_cache_of
from lastbit.perf.memory import keep_memory
from lastbit.perf.samples import GPU_TARGET_NS, dirt, dirt_of_pair
from lastbit.perf.workload import CpuClock


@dataclass
class Device:
    """Streams that are busy until some time, in ns, and a host that is ahead of them until it waits."""

    host: int = 0
    busy: dict[str, int] = field(default_factory=lambda: {"timed": 0, "side": 0})
    heard: list[str] = field(default_factory=list)
    clock_mhz: int = 1980
    reasons: int = 0x1

    def launch(self, ns: int, stream: str = "timed") -> None:
        self.host += 1_000
        self.busy[stream] = max(self.busy[stream], self.host) + ns

    def sleep(self, cycles: int) -> None:
        self.launch(cycles // 2)

    def synchronize(self) -> None:
        self.heard.append("device")
        self.host = max(self.host, *self.busy.values()) + 2_000

    def now(self) -> int:
        return self.host

    def event(self, enable_timing: bool) -> Any:
        assert enable_timing
        marks: list[int] = []

        def record() -> None:
            self.heard.append("record")
            marks.append(max(self.host, self.busy["timed"]))

        def synchronize() -> None:
            self.heard.append("event")
            self.host = max(self.host, marks[0]) + 1_000

        def elapsed_time(other: Any) -> float:
            return float(other.marks[0] - marks[0]) / 1e6

        return types.SimpleNamespace(record=record, synchronize=synchronize, elapsed_time=elapsed_time, marks=marks)

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int) -> int:  # noqa: N802
        return self.clock_mhz

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int:  # noqa: N802
        return self.reasons

    NVML_CLOCK_SM = 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(devices, "perf_counter_ns", made.now)
    monkeypatch.setattr(devices, "_nvml", lambda index: (made, index))
    return made


def timer(device: Device) -> CudaClock:
    torch = pytest.importorskip("torch")
    made = CudaClock("cuda")
    cuda = types.SimpleNamespace(
        Event=device.event, synchronize=device.synchronize, device=nullcontext, _sleep=device.sleep
    )
    made._torch = types.SimpleNamespace(cuda=cuda, device=torch.device)
    return made


def test_time_is_between_two_events(device: Device) -> None:
    device.launch(70_000)  # what was there before is not timed
    sample = timer(device).timed(lambda: device.launch(30_000), 1, lambda: device.launch(5_000))
    assert sample.ns == 30_000
    assert sample.cpu_ns is None
    assert sample.clocks_mhz == (1980, 1980)
    assert dirt(sample) == ""
    assert device.heard == ["device", "record", "record", "record", "event", "device"]


def test_results_are_frozen_right_after_the_last_call(device: Device) -> None:
    """The copy is submitted before anything waits: a stream that is not done has not written what it copies."""
    waits: list[int] = []
    timer(device).timed(lambda: device.launch(30_000, "side"), 1, lambda: waits.append(len(device.heard) - 3))
    assert waits == [0]
    assert device.busy["side"] > 30_000


def test_work_on_another_stream_is_seen(device: Device) -> None:
    sample = timer(device).timed(lambda: device.launch(500_000, "side"), 1, lambda: device.launch(5_000))
    assert sample.ns < 10_000
    assert sample.trailing_ns > 300_000
    assert "worked on for" in dirt(sample)
    assert "after the timed stream was done" in dirt_of_pair(sample, sample)


def test_launches_are_not_timed_and_short_work_elsewhere_is_seen_all_the_same(device: Device) -> None:
    """Work of 60 us on another stream ends within the head start; every 16th sample has none, and shows it undone."""
    undone: list[bool] = []

    def freeze() -> None:
        undone.append(max(device.host, device.busy["timed"]) < device.busy["side"])

    made = timer(device)
    samples = [made.timed(lambda: device.launch(60_000, "side"), 1, freeze) for _ in range(32)]
    assert [turn for turn, late in enumerate(undone, 1) if late] == [16, 32]
    assert [turn for turn, sample in enumerate(samples, 1) if dirt(sample)] == [16, 32]
    assert dirt(samples[15]) == "looked at without a head start"
    honest = [made.timed(lambda: [device.launch(8_000) for _ in range(5)], 5, lambda: None) for _ in range(15)]
    assert {sample.ns for sample in honest} == {40_000}


@pytest.mark.parametrize(
    ("reasons", "spoilt"),
    [
        (0x0, ""),
        (0x1, ""),  # idle
        (0x2, ""),  # an application's own clocks
        (0x100, ""),  # a display's
        (0x4, "clock held down (NVML 0x4)"),  # power
        (0x21, "clock held down (NVML 0x20)"),  # temperature
        (0x48, "clock held down (NVML 0x48)"),
    ],
)
def test_a_clock_that_is_held_down_spoils_a_sample(device: Device, reasons: int, spoilt: str) -> None:
    device.reasons = reasons
    assert dirt(timer(device).timed(lambda: device.launch(30_000), 1, lambda: None)) == spoilt


def test_clocks_that_differ_spoil_a_pair(device: Device) -> None:
    taken = []
    for mhz in (1980, 1700):
        device.clock_mhz = mhz
        taken.append(timer(device).timed(lambda: device.launch(30_000), 1, lambda: None))
    assert dirt_of_pair(*taken) == "clocks differ"


def test_without_nvml_nothing_is_said_of_clocks(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_nvml", lambda index: None)
    sample = timer(device).timed(lambda: device.launch(30_000), 1, lambda: None)
    assert sample.clocks_mhz == (0, 0)
    assert dirt(sample) == ""


def test_nvml_is_asked_for_the_device_that_cuda_means(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    known = {"GPU-1b": "the second of the machine, the only one that is visible"}
    library = types.SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=known.__getitem__)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    for uuid, found in (("1b", (library, known["GPU-1b"])), ("none", None)):
        properties = types.SimpleNamespace(uuid=uuid)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index, given=properties: given)
        assert devices._nvml.__wrapped__(0) == found


def test_each_device_has_its_clock() -> None:
    assert clock("cpu", 2) == CpuClock(2)
    assert CudaClock.target_ns == GPU_TARGET_NS
    assert last_cache_of("cpu") > 0


def test_libraries_compute_with_the_threads_that_they_are_told() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    blas = threads._openblas()
    counts = [read() for read, _ in blas]
    with threads.limited(2):
        assert torch.get_num_threads() == 2
        with threads.limited(1):
            assert torch.get_num_threads() == 1
            assert all(read() == 1 for read, _ in blas)
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
    assert [read() for read, _ in blas] == counts


def test_openblas_of_numpy_is_found() -> None:
    config: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    if "openblas" not in config["Build Dependencies"]["blas"]["name"]:
        pytest.skip("NumPy has another BLAS")
    assert threads._openblas()


def test_new_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    threads.announce(3)
    assert {os.environ[name] for name in threads.VARIABLES} == {"3"}


def test_memory_is_kept_where_malloc_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_memory() == hasattr(ctypes.CDLL(None), "mallopt")
    heard: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        heard.append((name, value))
        return 1

    library: Callable[[None], Any] = lambda _: types.SimpleNamespace(mallopt=mallopt)  # noqa: E731
    monkeypatch.setattr(ctypes, "CDLL", library)
    assert keep_memory.__wrapped__()
    assert heard == [(-3, 2**25), (-1, 2**30), (-2, 2**24)]
