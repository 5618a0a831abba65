"""What the plugin's own tests share: a stranger's repository, and a law small enough to run in a blink."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# Tests import what they share (faulty kernels, rounding points) by name; importlib mode puts no folder on the path.
sys.path.append(str(Path(__file__).parent))

from fake_law import FAKE_LAW, ROOT  # noqa: E402  (the path first)

Stranger = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def no_job_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that the tests make are no news for the page of the CI job that tests lastbit."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def stranger(pytester: pytest.Pytester) -> Stranger:
    """Runs pytest in a stranger's repository, whose kernels say how each check ends.

    `stranger(*options, good="pass", bad="over_budget")` offers kernels mine/good and mine/bad; `kernels=` adds the
    text of further ones.
    """

    def run(*options: str, kernels: str = "", **outcomes: str) -> pytest.RunResult:
        rows = ", ".join(f"kernel('mine/{name}', lambda case: {outcome!r})" for name, outcome in outcomes.items())
        hook = f"\ndef pytest_lastbit_kernels(config):\n    return [{rows}{', ' * bool(rows)}{kernels}]\n"
        pytester.makeconftest(FAKE_LAW.format(plugins=str(ROOT / "plugins"), root=str(ROOT)) + hook)
        return pytester.runpytest_subprocess("--pyargs", "lastbit.suites", "-p", "no:cacheprovider", *options)

    return run
