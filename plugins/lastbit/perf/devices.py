"""The clock of each device: host clocks on a CPU, CUDA events and NVML on a GPU."""

import contextlib
from collections.abc import Callable
from functools import cache
from time import perf_counter_ns
from typing import Any

from lastbit.perf.ring import last_cache
from lastbit.perf.samples import GPU_TARGET_NS, Sample
from lastbit.perf.workload import Clock, CpuClock

#: NVML's reasons for a lower clock that say nothing of the kernel: idle, an application's own setting, display.
HARMLESS = 0x1 | 0x2 | 0x100
#: Clock cycles that the timed stream is kept busy for before a sample, and for each call: about 100 us and 10 us, in
#: which the host submits the calls, so that their launches are not timed.
HEAD_START, HEAD_START_PER_CALL = 200_000, 20_000
#: Every so many samples there is no head start, in which another stream could finish unseen: these are only looked at.
LOOKED_AT = 16
#: How long the device may go on after the timed stream is done: waiting for the whole device takes some of it.
TRAILING_NS = 100_000


def clock(device: str, threads: int = 1) -> Clock:
    """The clock of `device`: "cpu", "cuda", "cuda:1"."""
    return CpuClock(threads) if device == "cpu" else CudaClock(device)


def last_cache_of(device: str) -> int:
    """Bytes of the device's last cache: L2 of a GPU."""
    if device == "cpu":
        return last_cache()
    import torch

    return int(torch.cuda.get_device_properties(torch.device(device)).L2_cache_size)


class CudaClock:
    """Events on the current stream, with the device idle before; what another stream still does afterwards is timed."""

    target_ns = GPU_TARGET_NS

    def __init__(self, device: str) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)
        self._nvml = _nvml(self._device.index or 0)
        self._turn = 0

    def timed(self, run: Callable[[], object], calls: int, freeze: Callable[[], object]) -> Sample:
        """The sample of `run`; `freeze` copies results on the timed stream, right after its last call."""
        cuda = self._torch.cuda
        with cuda.device(self._device):
            start, end, frozen = (cuda.Event(enable_timing=True) for _ in range(3))
            cuda.synchronize()
            before = self._clock_mhz()
            self._turn += 1
            only_looked_at = self._turn % LOOKED_AT == 0
            if not only_looked_at:
                cuda._sleep(HEAD_START + HEAD_START_PER_CALL * calls)
            start.record()
            run()
            end.record()
            freeze()
            frozen.record()
            frozen.synchronize()
            done = perf_counter_ns()
            cuda.synchronize()
            trailing = perf_counter_ns() - done
            after = self._clock_mhz()
        ns = max(1, round(start.elapsed_time(end) * 1e6))
        spoilt = self._spoilt(trailing) or ("looked at without a head start" if only_looked_at else "")
        return Sample(calls, ns, None, 0, trailing, (before, after), spoilt)

    def _clock_mhz(self) -> int:
        if self._nvml is None:
            return 0
        library, handle = self._nvml
        return int(library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM))

    def _spoilt(self, trailing: int) -> str:
        if trailing > TRAILING_NS:
            return f"the device worked on for {trailing / 1e3:.0f} us after the timed stream was done"
        if self._nvml is None:
            return ""
        library, handle = self._nvml
        reasons = int(library.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) & ~HARMLESS
        return f"clock held down (NVML {reasons:#x})" if reasons else ""


@cache
def _nvml(index: int) -> tuple[Any, Any] | None:
    """NVML and the device's handle, where nvidia-ml-py is installed and the driver answers.

    By its UUID: NVML counts the devices that CUDA_VISIBLE_DEVICES hides, too, and in another order.
    """
    with contextlib.suppress(Exception):
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(index).uuid
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    return None
