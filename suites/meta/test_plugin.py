"""The plugin as a user's terminal shows it: outcomes, exit status, records, options."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Stranger = Callable[..., pytest.RunResult]


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert [line["type"] for line in (lines[0], lines[-1])] == ["run", "end"]
    assert {line["type"] for line in lines[1:-1]} == {"record"}
    return lines[1:-1]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_run_tells_kernels_apart(stranger: Stranger, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = stranger(*workers, good="pass", bad="over_budget", shy="unsupported", hollow="vacuous")
    result.assert_outcomes(passed=2, failed=2, skipped=4)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*DOES NOT CONFORM: 1 of 2 kernels*mine/bad*", "report: lastbit-report/index.html and report.md*"]
    )
    written = records(pytester.path / "lastbit-report")
    outcomes = {(r["kernel"], r["check"], r["case"]): r["outcome"] for r in written}
    assert len(outcomes) == len(written) == 12  # two checks of one case, and one that needs a batch, for each kernel
    assert outcomes["mine/bad", "two", "first/m2-n3-k4"] == "over_budget"
    assert outcomes["mine/good", "one", "second/batch2-m2-n3-k4"] == "not_tested"
    for name in ("report.md", "index.html"):
        assert "DOES NOT CONFORM" in (pytester.path / "lastbit-report" / name).read_text(encoding="utf-8")


def test_failure_says_what_where_limit_and_how_to_repeat(stranger: Stranger, pytester: pytest.Pytester) -> None:
    result = stranger(bad="over_budget")
    result.stdout.fnmatch_lines(
        [
            "the kernel says over_budget",
            "allowed by: n[*]u[*]|A||B|",
            "over_budget in one first/m2-n3-k4 of mine/bad (a:f32 b:f32 out:f32) on cpu",
            "contract: accumulator=f32; truth: fp64 exact",
            "reproduce: pytest --pyargs lastbit.suites --lastbit-only mine/bad *--lastbit-case *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_reproduce_runs_just_that_case(stranger: Stranger, pytester: pytest.Pytester) -> None:
    first = stranger("--lastbit-tier", "standard", "--lastbit-seed", "7", good="pass", bad="wrong_class")
    line = next(
        r["reproduce"]
        for r in records(pytester.path / "lastbit-report")
        if "alpha" in r["case"] and r["kernel"] == "mine/bad"
    )
    assert first.ret == 1
    import shlex

    words = shlex.split(line)
    assert words[:3] == ["pytest", "--pyargs", "lastbit.suites"]
    again = pytester.runpytest_subprocess("-p", "no:cacheprovider", *words[1:])
    again.assert_outcomes(failed=1)
    (record,) = records(pytester.path / "lastbit-report")
    assert (record["case"], record["seed"], record["tier"]) == (
        "third/m20-n30-k40/a:transposed/alpha=0.5",
        7,
        "standard",
    )
    assert record["reproduce"] == line


def test_case_that_is_not_in_the_law_can_be_run(stranger: Stranger, pytester: pytest.Pytester) -> None:
    result = stranger("--lastbit-case", "two other/m9-n8-k7/b:strided/alpha=2.0", good="pass")
    result.assert_outcomes(passed=1)
    assert [r["case"] for r in records(pytester.path / "lastbit-report")] == ["other/m9-n8-k7/b:strided/alpha=2"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_nothing_judged_is_never_green(stranger: Stranger, workers: tuple[str, ...]) -> None:
    result = stranger(*workers, shy="unsupported")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["lastbit: nothing was judged"])


def test_nothing_but_untested_kernels_is_never_green(stranger: Stranger) -> None:
    result = stranger(kernels="kernel('mine/gpu', print, devices=('cuda',))")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*unsupported, 1 in 1 kernel: runs on cuda; this run's devices: cpu*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_no_matching_kernel_is_usage(stranger: Stranger, workers: tuple[str, ...]) -> None:
    result = stranger(*workers, "--lastbit-only", "your/*", good="pass")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["lastbit: no kernel matches 'your/[*]'; found: mine/good;*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--lastbit-tier", "huge", "--lastbit-tier is 'huge', expected one of smoke, standard, full"),
        ("--lastbit-op", "gemv", "--lastbit-op is 'gemv', expected one of gemm, scaled_gemm,*"),
        ("--lastbit-seed", "-1", "--lastbit-seed is '-1', expected a whole number from 0 to 4294967295"),
        ("--lastbit-shard", "3/2", "--lastbit-shard is '3/2', expected I/N*"),
        ("--lastbit-golden", "conftest.py", "--lastbit-golden is */conftest.py, which is a file; *"),
        ("--lastbit-golden", "nowhere", "--lastbit-golden is */nowhere, which is not there; *"),
        ("--lastbit-perf-against", "nowhere", "--lastbit-perf-against: nowhere is none of a file, a ./folder, *"),
    ],
)
def test_wrong_option_value_is_one_line_and_usage(
    stranger: Stranger, option: str, value: str | None, said: str
) -> None:
    result = stranger(option if value is None else f"{option}={value}", good="pass")
    assert result.ret == 2
    result.stderr.fnmatch_lines([f"*lastbit: {said}"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--lastbit-device", "tpu"), "--lastbit-device is 'tpu', but this machine has cpu"),
        (("--lastbit-case", "nine first/m2-n3-k4"), "--lastbit-case names check 'nine', expected one of one, two"),
        (("--lastbit-case", "one first"), "case id 'first': expected recipe/*"),
        (("--lastbit-case", "one x/m2-n3-k4/a:sideways"), "*layout of a is 'sideways', expected one of contiguous,*"),
        (("--lastbit-case", "one x/m2-n3-k4/z:strided"), "*operand 'z' has no layout, expected one of a, b, out"),
        (("--lastbit-case", "one x/m99999-n99999-k1"), "*more than 268435456 numbers (2 GiB); give smaller ones"),
        (("--lastbit-case", "one x/m2-n3-k0"), "*k is 0, expected at least 1"),
        (("--lastbit-case", "one x/m2-n3-k4/beta=2"), "*option 'beta' is unknown, expected alpha"),
        (("--lastbit-case", "one x/m2-n3-k4/alpha=two"), "*alpha is 'two', expected a number"),
        (
            ("--lastbit-case", "one first/m2-n3-k4 a:f16,b:f16,out:f16"),
            "nothing was judged: --lastbit-case asks for a:f16,*, but the kernels found have a:f32,b:f32,out:f32",
        ),
        (("--lastbit-case", "one first/m2-n3"), "nothing was judged: *'one first/m2-n3' is no case of gemm that *"),
        (("--lastbit-kernels", "nowhere.py"), "kernel file */nowhere.py is not there*"),
        (("--lastbit-kernels", "no_such_module"), "no_such_module cannot be imported: ModuleNotFoundError*"),
    ],
)
def test_wrong_choice_is_one_line_and_usage(stranger: Stranger, options: tuple[str, ...], said: str) -> None:
    result = stranger(*options, good="pass")
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"lastbit: {said}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_kernel_file_that_breaks_is_usage_and_says_where(stranger: Stranger, pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("broken.py").write_text("x = 1\ny = x / 0\n")
    result = stranger("--lastbit-kernels", "broken.py", good="pass")
    assert result.ret == 2
    result.stdout.fnmatch_lines(
        ["lastbit: *broken.py cannot be imported: ZeroDivisionError: division by zero (*broken.py:2)"]
    )


def test_lastbit_failing_is_an_error_not_a_verdict(stranger: Stranger, pytester: pytest.Pytester) -> None:
    result = stranger(kernels="kernel('mine/odd', lambda case: ValueError('ours'))")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["lastbit failed, which is no fault of the kernel", "*ValueError: ours*"])
    assert {r["outcome"] for r in records(pytester.path / "lastbit-report")} == {"error", "not_tested"}


def test_vacuous_check_fails_a_strict_run(stranger: Stranger) -> None:
    assert stranger(good="pass", hollow="vacuous").ret == 0
    assert stranger("--lastbit-strict", hollow="vacuous").ret == 1


def test_missing_golden_fails_a_strict_run(stranger: Stranger) -> None:
    assert stranger(good="pass").ret == 0
    result = stranger("--lastbit-strict", good="pass")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no golden*"])


def test_damaged_golden_is_usage_not_a_crash(stranger: Stranger, pytester: pytest.Pytester) -> None:
    from lastbit.environment import device_slug

    folder = pytester.mkdir("golden")
    (folder / f"gemm.{device_slug('cpu')}.jsonl").write_text('{"key": "cut of')
    result = stranger(good="pass")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["lastbit: *golden*.jsonl:1: the last line has no end*"])


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
def test_report_folder_that_cannot_be_written_is_said_before_anything_is_judged(
    stranger: Stranger, pytester: pytest.Pytester, folder: str
) -> None:
    pytester.path.joinpath("taken").write_text("a file")
    result = stranger("--lastbit-report", folder, good="pass")
    result.assert_outcomes(errors=1)
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"lastbit: --lastbit-report is */{folder}, but *is a file; give another folder"])


def test_report_folder_that_breaks_while_it_is_written_is_said_and_not_green(
    stranger: Stranger, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("reports/run.jsonl").mkdir(parents=True)
    result = stranger("--lastbit-report", "reports", good="pass")
    result.assert_outcomes(passed=2)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["lastbit: *reports/run.jsonl: cannot write *"])


def test_report_that_cannot_be_written_is_said_in_a_line_and_the_records_stay(
    stranger: Stranger, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("reports/index.html").mkdir(parents=True)
    result = stranger("--lastbit-report", "reports", good="pass")
    (said,) = (line for line in result.outlines if "index.html" in line)
    assert "reports/index.html: cannot write (Is a directory); the records are as they were" in said
    assert len(records(pytester.path / "reports")) == 3


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_hook_that_fails_is_told_once_with_its_place(stranger: Stranger, workers: tuple[str, ...]) -> None:
    """Not once for each op's test file."""
    result = stranger(*workers, kernels="kernel('mine/odd', 1 / 0)")
    assert result.ret == 2
    said = "lastbit: pytest_lastbit_kernels failed: ZeroDivisionError: division by zero (*conftest.py:*)"
    result.stdout.fnmatch_lines([said])
    lines = [line for line in result.stdout.lines if "ZeroDivisionError" in line and "lastbit: pytest_" in line]
    assert len(lines) <= (3 if not workers else 4), "in its collection error, the short summary and the account"
    result.stdout.no_fnmatch_line("*Traceback*")


def test_shards_are_a_partition(stranger: Stranger, pytester: pytest.Pytester) -> None:
    outcomes = {f"k{i}": "pass" for i in range(9)}
    stranger(**outcomes)
    whole = {(r["kernel"], r["check"], r["case"]) for r in records(pytester.path / "lastbit-report")}
    parts = []
    for part in (1, 2, 3):
        stranger(f"--lastbit-shard={part}/3", **outcomes)
        parts.append({(r["kernel"], r["check"], r["case"]) for r in records(pytester.path / "lastbit-report")})
    assert set().union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)
    assert all(len(part) > len(whole) / 9 for part in parts)


def test_case_beyond_a_kernels_limit_is_not_tested(stranger: Stranger, pytester: pytest.Pytester) -> None:
    stranger("--lastbit-tier", "standard", kernels="kernel('mine/slow', lambda case: 'pass', limit=24)")
    slow = {r["case"]: r["reason"] for r in records(pytester.path / "lastbit-report") if r["check"] == "one"}
    assert slow["third/m20-n30-k40/a:transposed/alpha=0.5"].startswith("24000 products are more than the 24")
    assert slow["first/m2-n3-k4"] == "the kernel says pass"


def test_kernel_of_a_higher_tier_leaves_one_record(stranger: Stranger, pytester: pytest.Pytester) -> None:
    stranger(good="pass", kernels="kernel('mine/late', lambda case: 'pass', tier='full')")
    late = [r for r in records(pytester.path / "lastbit-report") if r["kernel"] == "mine/late"]
    assert [(r["outcome"], r["reason"]) for r in late] == [
        ("not_tested", "runs from tier full on; this run's tier is smoke")
    ]


def test_junit_shows_the_record(stranger: Stranger, pytester: pytest.Pytester) -> None:
    stranger("--junitxml=junit.xml", good="pass")
    xml = pytester.path.joinpath("junit.xml").read_text()
    assert '<property name="lastbit.kernel" value="mine/good"' in xml
    assert '<property name="lastbit.max_ulp" value="2.5"' in xml


def test_options_are_ini_keys_relative_to_the_root(stranger: Stranger, pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("kernels.py").write_text(
        "import lastbit\n"
        "@lastbit.kernel('gemm', formats={'a': 'f32', 'b': 'f32', 'out': 'f32'}, framework='numpy', devices=('cpu',))\n"
        "def listed(case): return 'pass'\n"
    )
    pytester.makepyprojecttoml(
        '[tool.pytest]\nlastbit_kernels = ["kernels.py"]\nlastbit_only = ["kernels/*"]\nlastbit_report = "out"\n'
        'lastbit_tier = "standard"\nlastbit_seed = "5"\n'
    )
    result = stranger(good="pass")
    result.assert_outcomes(passed=3)
    assert {(r["kernel"], r["seed"], r["tier"]) for r in records(pytester.path / "out")} == {
        ("kernels/listed", 5, "standard")
    }


def test_strangers_tests_are_left_alone(stranger: Stranger, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(): pass\n")
    stranger("--collect-only", good="pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("=* lastbit =*")
    assert not pytester.path.joinpath("lastbit-report").exists()


def test_killed_run_keeps_what_was_judged(stranger: Stranger, pytester: pytest.Pytester) -> None:
    result = stranger(a="pass", kernels="kernel('mine/z', lambda case: __import__('os')._exit(9))")
    assert result.ret == 9
    lines = (pytester.path / "lastbit-report" / "run.jsonl").read_text().splitlines()
    judged = [json.loads(line) for line in lines[1:]]
    assert [r["kernel"] for r in judged if r["outcome"] == "pass"] == ["mine/a"]


def test_kernel_that_kills_a_worker_is_crashed_and_the_rest_is_judged(
    stranger: Stranger, pytester: pytest.Pytester
) -> None:
    deadly = "kernel('mine/deadly', lambda case: __import__('os')._exit(9))"
    result = stranger("-n", "2", kernels=deadly, good="pass")
    assert result.ret == 1
    outcomes = {(r["kernel"], r["outcome"]) for r in records(pytester.path / "lastbit-report")}
    assert {("mine/deadly", "crashed"), ("mine/good", "pass")} <= outcomes
    result.stdout.fnmatch_lines(["CRASHED mine/deadly*", "*DOES NOT CONFORM: 1 of 2 kernels*"])


FINDING = """
[[finding]]
id = "odd-first"
kernel = "mine/*"
check = "one"
case = "first/*"
outcome = "over_budget"
reason = "known since the spring"
"""


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        ("over_budget", 0, "odd-first: 1 check of mine/odd"),
        ("wrong_class", 1, "WRONG_CLASS mine/odd*"),
        ("pass", 1, "*finding odd-first no longer happens*"),
    ],
)
def test_known_finding_is_listed_and_fails_when_it_changes(
    stranger: Stranger, pytester: pytest.Pytester, outcome: str, status: int, said: str
) -> None:
    pytester.mkdir("suites").joinpath("findings.toml").write_text(FINDING)
    check_one = f"kernel('mine/odd', lambda case: {outcome!r})"
    result = stranger("--lastbit-case", "one first/m2-n3-k4", kernels=check_one)
    assert result.ret == status
    result.stdout.fnmatch_lines([f"*{said}"])


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--lastbit-case", "one first/m2-n3-k4"), 0)])
def test_finding_that_no_case_shows_fails_a_whole_run_and_not_a_part(
    stranger: Stranger, pytester: pytest.Pytester, options: tuple[str, ...], status: int
) -> None:
    pytester.mkdir("suites").joinpath("findings.toml").write_text(FINDING + "every = false\n")
    result = stranger(*options, kernels="kernel('mine/odd', lambda case: 'pass')")
    assert result.ret == status
    result.stdout.fnmatch_lines(["*finding odd-first*no longer happens as recorded: 0 of * matching cases fail*"])
    result.stdout.fnmatch_lines(["CONFORMS, BUT 1 known finding no longer as recorded: *"])


def test_damaged_findings_are_usage_not_a_crash(stranger: Stranger, pytester: pytest.Pytester) -> None:
    pytester.mkdir("suites").joinpath("findings.toml").write_text("[[finding]]\nid = 3\n")
    result = stranger(good="pass")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["lastbit: *findings.toml: finding 1: *"])


def test_ops_without_a_kernel_leave_no_trace(stranger: Stranger) -> None:
    """Every op has a test file; one of which no kernel is found counts as skipped only if nothing else is there."""
    stranger(good="pass").assert_outcomes(passed=2)
    nothing = stranger(kernels="kernel('mine/gpu', print, devices=('cuda',))")
    nothing.assert_outcomes(skipped=1)
    assert nothing.ret == 2
