"""What a run keeps beside its records: what its checks mean, what is known, which budgets were widened."""

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from lastbit.choices import Options
from lastbit.explaining import explained
from lastbit.reports.run import read
from lastbit.suites.law import checks
from lastbit.verdict import Outcome

from .page_runs import FAILED, real_run
from .record_examples import record

__all__ = ["real_run"]

TODAY = datetime.datetime.now(datetime.UTC).date()


@pytest.fixture
def options(tmp_path: Path) -> Options:
    (tmp_path / "findings.toml").write_text(
        '[[finding]]\nid = "F900"\nkernel = "mine/*"\ncheck = "*"\ncase = "*"\noutcome = "over_budget"\n'
        'reason = "sums are kept in f16"\n'
    )
    (tmp_path / "budgets.toml").write_text(
        "".join(
            f'[[override]]\nkernel = "{kernel}"\ncheck = "bound"\ncase = "*"\nbudget_factor = 1.5\nmeasured = 1.25\n'
            f'why = "ticket 1234"\ndate = {date}\nexpires = {date + datetime.timedelta(days=90)}\n'
            for kernel, date in (
                ("mine/gemm", TODAY),
                ("mine/other", TODAY),
                ("mine/late", TODAY - datetime.timedelta(days=100)),
            )
        )
    )
    return Options(policy=tmp_path)


def test_meaning_of_a_check_that_fails_is_the_laws(options: Options) -> None:
    found = explained(options, [record(check="exact"), replace(FAILED, check="bound")]).meanings
    assert found == {"gemm bound": next(check.why for check in checks("gemm") if check.name == "bound")}


def test_check_of_an_unknown_law_has_no_meaning(options: Options) -> None:
    odd = [replace(FAILED, op="transpose"), replace(FAILED, check="no such check")]
    assert explained(options, odd).meanings == {}


def test_findings_that_records_name_are_told(options: Options) -> None:
    assert explained(options, [replace(FAILED, known="F900")]).findings == {"F900": "sums are kept in f16"}
    assert explained(options, [FAILED]).findings == {}


def test_waiver_is_told_while_it_is_in_force_for_a_judged_case(options: Options) -> None:
    (waiver,) = explained(options, [record(), record(kernel="mine/late"), record(check="exact")]).waivers
    until = TODAY + datetime.timedelta(days=90)
    assert waiver == (
        f"mine/gemm [*] bound *: 1.5 times the derived budget until {until}, 1.25 measured on {TODAY}: ticket 1234"
    )
    assert explained(options, [record(outcome=Outcome.NOT_TESTED)]).waivers == ()


def test_run_keeps_it_with_its_end(real_run: Path) -> None:
    kept = read(real_run).explained
    assert kept.findings == {"F900": "sums are kept in f16"}
    assert set(kept.meanings) == {"gemm bound", "gemm exact"}
