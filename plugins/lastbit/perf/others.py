"""Others, the share of this machine's CPUs that other processes, and other machines of the host, took meanwhile."""

import os
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
#: Columns of the kernel's line of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
COLUMNS, IDLE, WAITING = 8, 3, 4


@dataclass(frozen=True, slots=True)
class Moment:
    """What the kernel and this process have counted so far, in ticks; all 0 where the kernel tells nothing."""

    total: float = 0.0
    busy: float = 0.0
    own: float = 0.0


def moment(stat: Path = STAT) -> Moment:
    """Now."""
    line = stat.read_text().partition("\n")[0].split() if stat.exists() else []
    if len(line) <= COLUMNS or line[0] != "cpu":
        return Moment()
    ticks = [int(word) for word in line[1 : COLUMNS + 1]]
    own = sum(os.times()[:2]) * os.sysconf("SC_CLK_TCK")
    return Moment(sum(ticks), sum(ticks) - ticks[IDLE] - ticks[WAITING], own)


def share(before: Moment, after: Moment) -> float:
    """The share of all CPUs' time between two moments that others had, 0 to 1; 0 where nothing is known."""
    total = after.total - before.total
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, others / total)) if total > 0 else 0.0
