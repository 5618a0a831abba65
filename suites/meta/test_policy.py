"""budgets.toml and findings.toml: read strictly, effective as long as stated, and no longer."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from lastbit import policy
from lastbit.case import Case, Trial
from lastbit.contract import Contract
from lastbit.errors import GoldenError
from lastbit.kernel import Kernel
from lastbit.policy import Known, Override
from lastbit.verdict import Outcome

from .record_examples import environment, record

DAY = date(2026, 12, 1)
OVERRIDE = """
[[override]]
kernel = "mine/*"
formats = "a:f16,b:f16,out:*"
check = "bound"
case = "gauss/*"
budget_factor = 1.5
measured = 1.31
why = "each of two partial sums is rounded to f16; vendor ticket 1234"
date = 2026-11-25
expires = 2027-05-25
"""
FINDING = """
[[finding]]
id = "torch-x"
kernel = "torch/*"
check = "bound"
case = "subnormals/*"
outcome = "over_budget"
reason = "subnormals are flushed"
versions = { torch = ">=2.13,<2.14" }
devices = ["cpu-*-avx512bf16-*", "cpu-*-amx-*"]
"""
#: A failure that the finding above is about.
FLUSHED = record(kernel="torch/mm", case="subnormals/m4-n64-k256", outcome=Outcome.OVER_BUDGET)


def trial(name: str = "mine/gemm", fmt: str = "f16", case: str = "gauss/m17-n33-k65") -> Trial:
    formats = {"a": fmt, "b": fmt, "out": "f32"}
    return Trial(Kernel(name, "gemm", print, formats), formats, Contract(), "cpu", Case.parse(case))


def load(folder: Path, budgets: str = "", findings: str = "") -> policy.Rows:
    """The rows of a project with these files, the shipped ones left out."""
    for name, text in ((policy.BUDGETS, budgets), (policy.FINDINGS, findings)):
        if text:
            (folder / name).write_text(text)
    shipped, rows = policy.load(None), policy.load(folder)
    return policy.Rows(rows.overrides[len(shipped.overrides) :], rows.findings[len(shipped.findings) :])


def test_shipped_files_are_usable() -> None:
    rows = policy.load(None)
    assert policy.expired(rows.overrides) == []


def test_missing_files_are_no_rows(tmp_path: Path) -> None:
    assert load(tmp_path) == policy.Rows()


def test_override_is_read_as_written(tmp_path: Path) -> None:
    assert load(tmp_path, OVERRIDE).overrides == (
        Override(
            "mine/*", "bound", "gauss/*", 1.5, "each of two partial sums is rounded to f16; vendor ticket 1234", 1.31,
            date(2026, 11, 25), date(2027, 5, 25), "a:f16,b:f16,out:*",
        ),
    )  # fmt: skip


def test_override_is_for_the_trials_it_names_only(tmp_path: Path) -> None:
    rows = load(tmp_path, OVERRIDE).overrides
    found = policy.settings(rows, "bound", trial(), DAY)
    assert found["budget_factor"] == 1.5
    assert "vendor ticket 1234" in found["budget_why"]
    for check, other in (
        ("tails", trial()),
        ("bound", trial("other/gemm")),
        ("bound", trial(fmt="bf16")),
        ("bound", trial(case="ties/m17-n33-k65")),
    ):
        assert policy.settings(rows, check, other, DAY) == {}


def test_override_ends_on_its_date_and_says_so(tmp_path: Path) -> None:
    rows = load(tmp_path, OVERRIDE).overrides
    last, after = date(2027, 5, 25), date(2027, 5, 26)
    assert policy.settings(rows, "bound", trial(), last)
    assert policy.expired(rows, last) == []
    assert policy.settings(rows, "bound", trial(), after) == {}
    assert policy.expired(rows, after) == [
        "budgets.toml: the override for mine/* bound gauss/* ended on 2027-05-25, the derived budget holds again; "
        "mend the kernel, or measure anew and give a new date"
    ]


def test_two_overrides_of_one_trial_are_refused(tmp_path: Path) -> None:
    rows = load(tmp_path, OVERRIDE + OVERRIDE.replace('"gauss/*"', '"gauss/m17*"')).overrides
    with pytest.raises(GoldenError, match="all match mine/gemm bound gauss/m17-n33-k65; keep one"):
        policy.settings(rows, "bound", trial(), DAY)
    assert policy.settings(rows, "bound", trial(case="gauss/m1-n1-k1"), DAY)


def test_same_override_twice_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="two rows are the override for mine/"):
        load(tmp_path, OVERRIDE + OVERRIDE.replace("1.5", "2.5"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budget_factor = 1.5", "budget_factor = nan", "budget_factor is nan"),
        ("budget_factor = 1.5", "budget_factor = inf", "budget_factor is inf"),
        ("budget_factor = 1.5", "budget_factor = 1.0", "expected more than 1"),
        ("budget_factor = 1.5", "budget_factor = 100.0", "at most 8"),
        ("budget_factor = 1.5", 'budget_factor = "1.5"', "Expected `float`, got `str` - at `$.budget_factor`"),
        ("budget_factor = 1.5", "", "missing required field `budget_factor`"),
        ("measured = 1.31", "measured = 1.6", "measured is 1.6, expected more than 1 and at most budget_factor 1.5"),
        ("measured = 1.31", "measured = nan", "measured is nan"),
        ("expires = 2027-05-25", "expires = 2026-11-25", "expected at most 366 days after date 2026-11-25"),
        ("expires = 2027-05-25", "expires = 2036-11-25", "expected at most 366 days after date 2026-11-25"),
        ("expires = 2027-05-25", 'expires = "soon"', "at `$.expires`"),
        ("expires = 2027-05-25", "", "missing required field `expires`"),
        ("why =", "because =", "has unknown because"),
        ('"each of two partial sums is rounded to f16; vendor ticket 1234"', '" "', "why is empty"),
        ("[[override]]", "[override]", "expected nothing but [[override]] rows"),
        ("[[override]]", "[[overide]]", "has overide, expected nothing but [[override]] rows"),
        ("[[override]]", "[[override", "not a TOML file in UTF-8"),
        ("[[override]]", "version = 2\n[[override]]", "has version"),
        ('case = "gauss/*"', 'case = "gauss/*"\ncase = "x"', "not a TOML file in UTF-8"),
    ],
)
def test_wrong_override_is_refused_naming_file_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OVERRIDE
    with pytest.raises(GoldenError) as error:
        load(tmp_path, OVERRIDE.replace(old, new))
    assert said in str(error.value)
    assert str(tmp_path / "budgets.toml") in str(error.value)


def test_file_that_is_not_utf8_or_cut_off_is_refused(tmp_path: Path) -> None:
    for content in (OVERRIDE.encode().replace(b"vendor", b"v\xffndor"), OVERRIDE.encode()[: OVERRIDE.index("vendor")]):
        (tmp_path / policy.BUDGETS).write_bytes(content)
        with pytest.raises(GoldenError, match=r"budgets\.toml: not a TOML file in UTF-8"):
            policy.load(tmp_path)


def test_failure_as_recorded_is_known(tmp_path: Path) -> None:
    findings = load(tmp_path, findings=FINDING).findings
    known = policy.annotated(FLUSHED, findings, environment())
    assert known == replace(FLUSHED, known="torch-x")
    assert not known.failed
    assert policy.unused(findings, [known], environment()) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"outcome": Outcome.WRONG_CLASS},
        {"outcome": Outcome.CRASHED},
        {"kernel": "mine/mm"},
        {"check": "exact"},
        {"case": "gauss/m4-n64-k256"},
    ],
)
def test_other_failure_is_not_known(tmp_path: Path, changed: dict[str, object]) -> None:
    findings = load(tmp_path, findings=FINDING).findings
    other = replace(FLUSHED, **changed)  # type: ignore[arg-type]
    assert policy.annotated(other, findings, environment()) == other
    assert other.failed


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({}, True),
        ({"packages": {"torch": "2.13.5+cu130"}}, True),
        ({"packages": {"torch": "2.14.0"}}, False),
        ({"packages": {}}, False),
        ({"devices": {"cpu": "cpu-x86_64-amx-intel_xeon-f6m143"}}, True),
        ({"devices": {"cpu": "cpu-x86_64-avx2-amd_epyc-f23m49"}}, False),
    ],
)
def test_finding_speaks_of_its_versions_and_devices_only(
    tmp_path: Path, changed: dict[str, dict[str, str]], about: bool
) -> None:
    """Elsewhere the failure is a plain failure, and a pass is a plain pass: no false news on another machine."""
    findings, here = load(tmp_path, findings=FINDING).findings, environment(**changed)
    assert bool(policy.known(FLUSHED, findings, here)) == about
    passing = replace(FLUSHED, outcome=Outcome.PASS)
    assert policy.annotated(passing, findings, here).failed == about
    assert bool(policy.unused(findings, [passing], here)) == about


def test_finding_that_passes_fails_the_run_by_name(tmp_path: Path) -> None:
    findings = load(tmp_path, findings=FINDING).findings
    gone = policy.annotated(replace(FLUSHED, outcome=Outcome.PASS), findings, environment())
    assert gone.failed
    assert gone.known == "torch-x"
    assert gone.reason.startswith("finding torch-x no longer happens: expected over_budget (subnormals are flushed)")
    assert policy.unused(findings, [FLUSHED, gone], environment()) == [
        "finding torch-x (subnormals are flushed) no longer happens as recorded: 1 of 2 matching cases fail with "
        "over_budget; update findings.toml"
    ]


def test_finding_of_some_cases_needs_one_of_them_to_fail(tmp_path: Path) -> None:
    findings = load(tmp_path, findings=FINDING + "every = false\n").findings
    passing = replace(FLUSHED, outcome=Outcome.PASS, case="subnormals/other")
    assert policy.annotated(passing, findings, environment()) == passing
    assert policy.unused(findings, [FLUSHED, passing], environment()) == []
    assert "0 of 1 matching cases" in policy.unused(findings, [passing], environment())[0]


def test_finding_of_a_search_is_not_gone_when_the_search_finds_nothing(tmp_path: Path) -> None:
    findings = [replace(row, check="hunt", case="*") for row in load(tmp_path, findings=FINDING).findings]
    found_nothing = replace(FLUSHED, outcome=Outcome.PASS, check="hunt")
    assert policy.unused(findings, [found_nothing], environment()) == []
    assert policy.unused([replace(findings[0], check="*")], [found_nothing], environment()) != []


def test_rows_of_one_id_are_one_finding_when_it_depends_on_the_data(tmp_path: Path) -> None:
    other = FINDING.replace('"over_budget"', '"wrong_class"')
    findings = load(tmp_path, findings=FINDING + "every = false\n" + other + "every = false\n").findings
    assert len(findings) == len(load(tmp_path / "none").findings) + 2
    assert policy.unused(findings, [FLUSHED], environment()) == []
    assert len(policy.unused(findings, [replace(FLUSHED, outcome=Outcome.PASS)], environment())) == 1


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if not outcome.judged])
def test_finding_that_was_not_judged_says_nothing(tmp_path: Path, outcome: Outcome) -> None:
    findings = load(tmp_path, findings=FINDING).findings
    skipped = replace(FLUSHED, outcome=outcome)
    assert policy.annotated(skipped, findings, environment()) == skipped
    assert policy.unused(findings, [skipped], environment()) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"over_budget"', '"pass"', "outcome is 'pass', which is no failure"),
        ('"over_budget"', '"not_tested"', "which is no failure"),
        ('"over_budget"', '"wrong"', "Invalid enum value 'wrong' - at `$.outcome`"),
        ('">=2.13,<2.14"', '"2.13"', "versions.torch is '2.13', expected a range"),
        ('"torch-x"', '""', "id is empty"),
        ('["cpu-*-avx512bf16-*", "cpu-*-amx-*"]', "[]", "devices is empty"),
        ('reason = "subnormals are flushed"', "", "missing required field `reason`"),
        ("reason", "remark", "has unknown remark"),
    ],
)
def test_wrong_finding_is_refused_naming_file_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FINDING
    with pytest.raises(GoldenError) as error:
        load(tmp_path, findings=FINDING.replace(old, new))
    assert said in str(error.value)
    assert f"{tmp_path / 'findings.toml'}: finding 1" in str(error.value)


def test_same_finding_twice_is_refused_but_it_may_show_in_several_checks(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="two rows are the finding torch-x"):
        load(tmp_path, findings=FINDING + FINDING.replace("flushed", "lost"))
    both = load(tmp_path, findings=FINDING + FINDING.replace('"bound"', '"tails"')).findings
    assert policy.known(replace(FLUSHED, check="tails"), both, environment()) == "torch-x"


def test_examples_in_the_shipped_files_are_valid_rows(tmp_path: Path) -> None:
    """What the comments of both files show is what the loader takes."""
    shipped = Path(__file__).parents[1]
    text = {}
    for name, table in ((policy.BUDGETS, "[[override]]"), (policy.FINDINGS, "[[finding]]")):
        lines = (shipped / name).read_text().splitlines()
        start = lines.index(f"# {table}")
        end = next((i for i in range(start, len(lines)) if not lines[i].startswith("#")), len(lines))
        text[name] = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[start:end])
    rows = load(tmp_path, text[policy.BUDGETS], text[policy.FINDINGS])
    assert rows.overrides[0].budget_factor == 1.5
    assert rows.findings[0] == Known(
        "F7", "torch/matmul", "special_values", "nan_row/*", Outcome.WRONG_CLASS, "NaN is lost in the tail of a row",
        "a:bf16,b:bf16,out:bf16", ("cpu-*-avx512bf16-*", "cpu-*-amx-*"), {"torch": ">=2.13,<2.14"},
    )  # fmt: skip
