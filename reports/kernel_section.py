"""The section a report has of each kernel: promise, budgets, errors drawn, laws, drift and speed."""

import re
from collections import defaultdict
from dataclasses import dataclass
from zlib import crc32

from markupsafe import Markup

from lastbit.reports.run import Run
from lastbit.reports.summary import clean
from lastbit.verdict import Record


@dataclass(frozen=True, slots=True)
class KernelSection:
    """What a page shows of one kernel, or of one op, under a heading of its own."""

    #: The id of the section's element; `anchor` makes it of the name.
    anchor: str
    #: The kernel's name, cleaned but not escaped.
    title: str
    op: str
    #: Safe HTML.
    body: Markup
    #: What a heading may say beside the name: (name, value), plain text.
    facts: tuple[tuple[str, str], ...] = ()


def anchor(kernel: str) -> str:
    """The id of the kernel's section: letters, digits and hyphens, different for different names."""
    slug = re.sub(r"[^a-z0-9]+", "-", kernel.lower()).strip("-")[:40]
    return f"kernel-{slug}-{crc32(kernel.encode(errors='surrogatepass')):08x}"


def sections(run: Run) -> list[KernelSection]:
    """A section of each kernel that the run has records of, by op and name."""
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in run.records:
        grouped[record.op, record.kernel].append(record)
    return [
        KernelSection(anchor(kernel), clean(kernel, 80), op, Markup(""), ())
        for (op, kernel), _ in sorted(grouped.items())
    ]
