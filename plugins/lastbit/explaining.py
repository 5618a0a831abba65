"""What a run's records do not say themselves: what its checks mean, what is known, which budgets were widened."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lastbit import policy
from lastbit.errors import UsageError

if TYPE_CHECKING:
    from lastbit.choices import Options
    from lastbit.policy import Override
    from lastbit.reports.run_data import Explained
    from lastbit.verdict import Record


def explained(options: "Options", records: Iterable["Record"]) -> "Explained":
    """What the account of `records` needs beside them, from the law and the policy files of `options`."""
    from lastbit.reports.run_data import Explained

    records = tuple(records)
    rows = policy.load(options.policy)
    named = {record.known for record in records}
    findings = {row.id: row.reason for row in reversed(rows.findings) if row.id in named}
    waivers = [_sentence(row) for row in policy.in_force(rows.overrides) if any(_covers(row, one) for one in records)]
    return Explained(_meanings(records), findings, tuple(waivers))


def _meanings(records: Iterable["Record"]) -> dict[str, str]:
    from lastbit.suites.law import checks

    found: dict[str, str] = {}
    for op, name in sorted({(record.op, record.check) for record in records if record.outcome.failed}):
        try:
            law = checks(op)
        except UsageError:  # a law of somebody else's
            continue
        found |= {f"{op} {name}": check.why for check in law if check.name == name}
    return found


def _covers(row: "Override", record: "Record") -> bool:
    return (
        record.outcome.judged
        and fnmatchcase(record.kernel, row.kernel)
        and fnmatchcase(record.formats.replace(" ", ","), row.formats.replace(" ", ","))
        and fnmatchcase(record.check, row.check)
        and fnmatchcase(record.case, row.case)
    )


def _sentence(row: "Override") -> str:
    return (
        f"{row.kernel} [{row.formats}] {row.check} {row.case}: {row.budget_factor:g} times the derived budget until "
        f"{row.expires}, {row.measured:g} measured on {row.date}: {row.why}"
    )
