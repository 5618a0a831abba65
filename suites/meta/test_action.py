"""action.yml and the workflow of the README: as GitHub's syntax has it, and their scripts do what a job relies on."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_law import FAKE_LAW, ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")
#: `lastbit` where it is not installed.
COMMAND = f"""
import importlib.util, sys
if importlib.util.find_spec("lastbit") is None:
    sys.path.insert(0, {str(ROOT / "plugins")!r})
    import lastbit
    lastbit.__path__.append({str(ROOT)!r})
from lastbit.cli import main
sys.exit(main())
"""
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="the action's scripts are of bash")


@dataclass
class Job:
    """A job that runs the action's steps one after another, as a runner does."""

    place: Path
    inputs: dict[str, str]
    #: What `lastbit compare` of speed, and of runs, prints and ends with.
    speed: tuple[str, int] = ("as fast\n", 0)
    results: tuple[str, int] = ("all the same\n", 0)
    #: Exit status of git.
    git: int = 0
    #: False: python is a stand-in that notes what it is called with.
    judges: bool = True
    failed: bool = False
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""
    #: Files of the artifact, as they were when it was kept.
    kept: dict[str, str] = field(default_factory=dict)

    def run(self) -> "Job":
        for folder in ("bin", "temp", "work"):
            (self.place / folder).mkdir(exist_ok=True)
        note = 'printf "%s\\n" "$@" >> "$RUNNER_TEMP/called"\n'
        judge = f'[ "$2" = pip ] || exec "{sys.executable}" "$@"\n' if self.judges else ""
        self.command("python", f"{judge}{note}")
        if self.judges:
            self.command(
                "lastbit", f'exec {sys.executable} {shlex.quote(str(self.place / "temp" / "command.py"))} "$@"\n'
            )
            (self.place / "temp" / "command.py").write_text(COMMAND)
        else:
            ends = [f"cat <<'END'\n{text}END\nexit {status}" for text, status in (self.speed, self.results)]
            self.command("lastbit", f'{note}if [ "$2" = --perf ]; then\n{ends[0]}\nelse\n{ends[1]}\nfi\n')
            self.command("git", f"{note}exit {self.git}\n")
        self.inputs = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | self.inputs
        for step in STEPS:
            if self.due(step.get("if", "")):
                self.step(step)
        return self

    def command(self, name: str, text: str) -> None:
        path = self.place / "bin" / name
        path.write_text(f"#!{BASH}\n{text}")
        path.chmod(0o755)

    def due(self, condition: str) -> bool:
        if "always()" not in condition and self.failed:
            return False
        rest = [part for part in condition.split(" && ") if part not in ("", "always()")]
        return all(self.holds(part) for part in rest)

    def holds(self, condition: str) -> bool:
        found = re.fullmatch(r"inputs\.([\w-]+) (==|!=) '(.*)'", condition)
        assert found, condition
        return (self.inputs[found[1]] == found[3]) == (found[2] == "==")

    def value(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: self.known(found[1]), text)

    def known(self, name: str) -> str:
        first, _, rest = name.partition(".")
        if first == "inputs":
            return self.inputs[rest]
        if first == "steps":
            step, outputs, output = rest.split(".")
            assert outputs == "outputs"
            return self.outputs.get(step, {}).get(output, "")
        assert name == "github.action_path"
        return "/the/action"

    def step(self, step: dict[str, Any]) -> None:
        if "uses" in step:
            if step["uses"].startswith("actions/upload-artifact"):
                folder = self.place / "work" / self.value(step["with"]["path"])
                self.kept = {path.name: path.read_text() for path in folder.glob("*") if path.is_file()}
            return
        files = {name: self.place / "temp" / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        files["GITHUB_OUTPUT"].write_text("")
        script = self.place / "temp" / "script.sh"
        script.write_text(step["run"])
        given = {name: self.value(value) for name, value in step.get("env", {}).items()}
        paths = {"PATH": f"{self.place / 'bin'}:{os.environ['PATH']}", "RUNNER_TEMP": str(self.place / "temp")}
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "PYTHONPATH", "VIRTUAL_ENV")}
        command = [str(BASH), "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        environment = kept | paths | given | {name: str(path) for name, path in files.items()}
        done = subprocess.run(
            command, cwd=self.place / "work", env=environment, capture_output=True, text=True, check=False, timeout=100
        )
        self.log += done.stdout + done.stderr
        self.failed = self.failed or done.returncode != 0
        rows = [line.partition("=")[::2] for line in files["GITHUB_OUTPUT"].read_text().splitlines()]
        self.outputs[step.get("id", "")] = dict(rows)

    @property
    def summary(self) -> str:
        path = self.place / "temp" / "GITHUB_STEP_SUMMARY"
        return path.read_text() if path.exists() else ""

    @property
    def called(self) -> list[str]:
        """Arguments of python and lastbit, in order."""
        return (self.place / "temp" / "called").read_text().splitlines()


@pytest.fixture
def job(tmp_path: Path) -> Any:
    """Makes a job in a repository whose kernels end as given: job({"mine/good": "pass"}, tier="full")."""

    def write(kernels: dict[str, str]) -> None:
        rows = ", ".join(f"kernel({name!r}, lambda case: {outcome!r})" for name, outcome in kernels.items())
        hook = f"\ndef pytest_lastbit_kernels(config):\n    return [{rows}]\n"
        conftest = FAKE_LAW.format(plugins=str(ROOT / "plugins"), root=str(ROOT)) + hook
        (tmp_path / "work" / "conftest.py").write_text(conftest)

    def make(kernels: dict[str, str], base: dict[str, str] | None = None, **inputs: str) -> Job:
        (tmp_path / "work").mkdir()
        if base is not None:
            write(base)
            person = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
            for words in (("init", "-q"), ("add", "-A"), (*person, "commit", "-q", "-m", "base")):
                subprocess.run(["git", *words], cwd=tmp_path / "work", check=True, capture_output=True)
            inputs["base"] = "HEAD"
        write(kernels)
        return Job(tmp_path, inputs).run()

    return make


# What GitHub reads.


def test_action_is_as_the_metadata_syntax_has_it() -> None:
    assert set(ACTION) == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"].keys() == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    for name, one in ACTION["inputs"].items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name)
        assert set(one) == {"description", "default"}
        assert all(isinstance(text, str) for text in one.values()), f"{name}: GitHub gives texts only"
    for one in ACTION["outputs"].values():
        assert set(one) == {"description", "value"}
    for step in STEPS:
        assert ("run" in step) != ("uses" in step)
        assert set(step) <= {"name", "id", "if", "run", "shell", "env", "uses", "with"}
        assert step.get("shell") == ("bash" if "run" in step else None)
        assert all(isinstance(text, str) for text in {**step.get("env", {}), **step.get("with", {})}.values())
    ids = [step["id"] for step in STEPS if "id" in step]
    assert len(ids) == len(set(ids))


def test_every_input_is_used_and_every_name_is_known() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    assert set(re.findall(r"steps\.([\w-]+)\.outputs\.\w+", text)) <= {step.get("id") for step in STEPS}
    for step in STEPS:
        named = set(re.findall(r"\$\{?([A-Z_]+)\b", step.get("run", "")))
        assert named - {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP"} == set(step.get("env", {}))


def test_no_text_of_a_pull_request_becomes_part_of_a_script() -> None:
    assert not [step["name"] for step in STEPS if "${{" in step.get("run", "")]


def test_actions_are_pinned_by_version() -> None:
    used = [step["uses"] for step in (*STEPS, *workflow()["jobs"]["kernels"]["steps"]) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", one) for one in used)


# What a job sees.


@needs_bash
def test_job_of_kernels_that_conform_passes(job: Any) -> None:
    done = job({"mine/good": "pass"})
    assert not done.failed, done.log
    assert done.outputs["run"] == {"status": "0"}
    assert "**CONFORMS: 1 kernel" in done.summary
    assert {"run.jsonl", "report.md", "index.html"} <= set(done.kept)
    assert "::error" not in done.log


@needs_bash
def test_job_fails_after_the_report_is_shown_and_kept(job: Any) -> None:
    done = job({"mine/good": "pass", "mine/bad": "over_budget"})
    assert done.failed
    assert done.outputs["run"] == {"status": "1"}
    assert "**DOES NOT CONFORM: 1 of 2 kernels" in done.summary
    assert "DOES NOT CONFORM" in done.kept["report.md"]
    assert "::error title=lastbit::A kernel does not conform" in done.log


@needs_bash
@pytest.mark.parametrize("given", [{"tier": "huge"}, {"only": "nobody/*"}])
def test_job_that_judged_nothing_fails_and_says_so(job: Any, given: dict[str, str]) -> None:
    done = job({"mine/good": "pass"}, **given)
    assert done.failed
    assert "Nothing was judged" in done.log
    assert "lastbit wrote no report" in done.summary or "NOTHING JUDGED" in done.summary


@needs_bash
def test_strict_job_fails_where_a_baseline_is_missing_or_a_check_vacuous(job: Any) -> None:
    assert job({"mine/hollow": "vacuous", "mine/good": "pass"}, strict="true").failed


@needs_bash
@pytest.mark.parametrize(
    ("status", "strict", "failed", "told"),
    [
        (0, "false", False, ""),
        (1, "false", True, "::error title=lastbit::A kernel is slower"),
        (2, "false", True, "::error title=lastbit::Speed was not compared"),
        (3, "false", False, "::warning title=lastbit::Nothing can be said"),
        (3, "true", True, "::warning title=lastbit::Nothing can be said"),
    ],
)
def test_job_is_gated_by_the_speed_beside_base(
    tmp_path: Path, status: int, strict: str, failed: bool, told: str
) -> None:
    inputs = {"base": "origin/main", "kernels": "mine.py", "strict": strict}
    done = Job(tmp_path, inputs, ("# a `slow` <b>\n", status), judges=False).run()
    assert done.failed == failed
    assert told in done.log
    assert done.outputs["speed"] == {"status": str(status)}
    assert done.kept["speed.txt"] == "# a `slow` <b>\n"
    assert "\n\n    # a `slow` <b>\n" in done.summary, "a block of code, whatever it holds"
    options = ["--perf", "--json=lastbit-report/speed.json", "--kernels=mine.py"]
    assert done.called[-7:] == ["compare", *options, "--", "origin/main", "HEAD"]


@needs_bash
@pytest.mark.parametrize(
    ("status", "failed", "told"),
    [
        (0, False, ""),
        (1, True, "::error title=lastbit::A check broke or grew worse beside base"),
        (2, True, "::error title=lastbit::Results were not compared with base"),
    ],
)
@pytest.mark.parametrize("strict", ["false", "true"])
def test_job_is_gated_by_the_results_beside_base(
    tmp_path: Path, status: int, failed: bool, told: str, strict: str
) -> None:
    inputs = {"base": "origin/main", "kernels": "mine.py", "only": "mine/*", "tier": "standard", "strict": strict}
    done = Job(tmp_path, inputs, results=("broke: a `b` <b>\n", status), judges=False).run()
    assert done.failed == failed
    assert told in done.log
    assert done.outputs["results"] == {"status": str(status)}
    assert done.kept["results.txt"] == "broke: a `b` <b>\n"
    assert "\n## Results beside base\n\n    broke: a `b` <b>\n" in done.summary, "a block of code, whatever it holds"
    called = done.called
    tree = called[called.index("worktree") + 5]
    added = ["worktree", "add", "--quiet", "--detach", "--", tree, "origin/main"]
    assert called[called.index("worktree") :][: len(added)] == added
    judged = called[called.index("origin/main") + 1 :]
    run = judged[6].removeprefix("--lastbit-report=")
    options = [
        "--lastbit-tier=standard",
        f"--lastbit-report={run}",
        "--lastbit-kernels=mine.py",
        "--lastbit-only=mine/*",
    ]
    assert judged[:9] == ["-m", "pytest", "--pyargs", "lastbit.suites", "-q", *options]
    strictly = ["--strict"] * (strict == "true")
    compared = ["compare", "--json=lastbit-report/results.json", *strictly, "--", run, "lastbit-report"]
    assert judged[9 : 9 + len(compared)] == compared


@needs_bash
def test_results_beside_a_base_that_is_no_commit_are_not_compared(tmp_path: Path) -> None:
    done = Job(tmp_path, {"base": "nowhere", "kernels": "mine.py"}, judges=False, git=128).run()
    assert done.failed
    assert done.outputs["results"] == {"status": "2"}
    assert "base is no commit of this checkout" in done.summary
    assert "::error title=lastbit::Results were not compared with base" in done.log


@needs_bash
@pytest.mark.skipif(shutil.which("git") is None, reason="base is a commit of git")
@pytest.mark.parametrize(
    ("base", "head", "status"),
    [("pass", "pass", "0"), ("pass", "over_budget", "1"), ("over_budget", "over_budget", "0")],
)
def test_real_runs_of_base_and_head_are_compared(job: Any, base: str, head: str, status: str) -> None:
    done = job({"mine/one": head}, base={"mine/one": base})
    assert done.outputs["results"] == {"status": status}, done.log
    assert ("broke or grew worse beside base" in done.log) == (status == "1")
    assert "## Results beside base" in done.summary
    assert done.summary.count(done.kept["report.md"].splitlines()[0]) == 1, "the report of base is not shown"
    assert '"status"' in done.kept["results.json"]
    assert not list((done.place / "temp").glob("lastbit-base.*")), "the tree of base is taken away"


@needs_bash
def test_inputs_arrive_whole_and_run_nothing(tmp_path: Path) -> None:
    evil = "$(touch pwned) `touch pwned`; touch pwned; \"'"
    given = {
        "kernels": f"a b.py\n\n{evil}\n",
        "only": f"mine/*\n{evil}",
        "tier": evil,
        "report": "out put",
        "base": evil,
    }
    done = Job(tmp_path, given | {"extras": "torch", "install": f"numpy\n{evil}"}, judges=False).run()
    assert not list(tmp_path.rglob("pwned"))
    text = "\n".join(done.called)
    assert "/the/action[torch]\n-r\n" in text
    options = [f"--lastbit-tier={evil}", "--lastbit-report=out put", "--lastbit-kernels=a b.py"]
    options += [f"--lastbit-kernels={evil}", "--lastbit-only=mine/*", f"--lastbit-only={evil}"]
    assert "\n".join(["-m", "pytest", "--pyargs", "lastbit.suites", "-q", *options]) in text
    assert "\n".join(["--kernels=a b.py", f"--kernels={evil}", "--", evil, "HEAD"]) in text
    assert (tmp_path / "temp" / "lastbit-requirements.txt").read_text() == f"numpy\n{evil}\n"
    assert "lastbit wrote no report, exit status 0" in done.summary


@needs_bash
def test_job_without_python_to_install_into_fails_and_keeps_what_there_is(tmp_path: Path) -> None:
    done = Job(tmp_path, {"upload": "true"}, judges=False)
    done.command = lambda name, text: Job.command(done, name, "exit 1\n" if name == "python" else text)  # type: ignore[method-assign]
    done.run()
    assert done.failed
    assert "Nothing was judged" in done.log
    assert "run" not in done.outputs


# What the README shows.


def workflow() -> dict[str, Any]:
    """The workflow that the README shows."""
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_workflow_of_the_readme_is_one() -> None:
    found = workflow()
    # YAML 1.1 reads the key `on` as true.
    assert set(found) == {"name", True, "permissions", "jobs"}
    assert found["permissions"] == {"contents": "read"}, "a pull request of a stranger must not write"
    assert set(found[True]) == {"pull_request"}
    (steps,) = [one["steps"] for one in found["jobs"].values()]
    checkout = next(step for step in steps if step["uses"].startswith("actions/checkout"))
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}, "base has to be there"
    step = next(step for step in steps if step["uses"].startswith("OWNER/lastbit@"))
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert all(isinstance(value, str) for value in step["with"].values())
