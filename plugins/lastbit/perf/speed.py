"""Speed, how long a kernel takes in terms of its yardstick, as several fresh processes measured it: plain data."""

import math
from dataclasses import dataclass
from statistics import median, stdev

from lastbit.verdict import Outcome

#: Fresh processes that a speed is the median of, at least: memory lies elsewhere in each, which moves a ratio by 2 to
#: 4 %, however long one process measures.
LEAST_RUNS = 3


@dataclass(frozen=True, slots=True)
class Speed:
    """One kernel's measured speed on one case: plain data, as a run stores it."""

    kernel: str
    op: str
    formats: str
    device: str
    check: str
    case: str
    #: The kernel that it was timed beside; "" where there is none of its op and formats.
    yard: str
    #: Time of the kernel / time of the yardstick in each fresh process that could tell.
    ratios: tuple[float, ...] = ()
    #: Processes that were asked.
    processes: int = 0
    #: PASS, INCONCLUSIVE (why: `reason`), or the failure of a kernel that is not right and so has no speed.
    outcome: Outcome = Outcome.INCONCLUSIVE
    reason: str = ""
    #: Smallest share of clean pairs of a process.
    clean_share: float = 0.0
    threads: int = 1
    cold: bool = False

    @property
    def key(self) -> str:
        """The golden key."""
        way = f"threads{self.threads}-{'cold' if self.cold else 'warm'}"
        return " ".join((self.kernel, self.formats.replace(" ", ","), self.check, self.case, way))

    @property
    def ratio(self) -> float:
        """Median over processes; 0 where none could tell."""
        return median(self.ratios) if self.ratios else 0.0

    @property
    def sd(self) -> float:
        """Standard deviation of the logarithm between processes; 0 of fewer than two."""
        return stdev(map(math.log, self.ratios)) if len(self.ratios) > 1 else 0.0
