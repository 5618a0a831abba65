"""Mutation testing itself: operators make the mistakes they name, survivors are mutants that exist, with reasons."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="make mutate installs it")
pytest.importorskip("mutation", reason="run it from the root of the checkout: python -m pytest")

from cosmic_ray.mutating import mutate_code

from mutation import targets
from mutation.mutants import mutants
from mutation.operators import ConfuseFunction, DropRow, SkipStatement, operators
from mutation.survivors import SurvivorsError, listed
from mutation.targets import TARGETS
from mutation.trial import KILLED, SURVIVED, UNTESTED, import_name


@pytest.mark.parametrize("operator", [SkipStatement, ConfuseFunction, DropRow])
def test_operators_make_the_mistakes_of_their_examples(operator: type) -> None:
    for example in operator.examples():
        assert mutate_code(example.pre_mutation_code, operator(), example.occurrence) == example.post_mutation_code


def test_operators_are_those_that_a_person_could_be() -> None:
    names = {name for name, _ in operators()}
    assert {"NumberReplacer", "ReplaceComparisonOperator_Lt_LtE", "ReplaceBinaryOperator_Add_Sub"} < names
    assert not {name for name in names if "BitOr_Sub" in name}


ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A module."""
from dataclasses import dataclass
TABLE = (1, 2)
@dataclass(frozen=True)
class Thing:
    size: int | None = None
    def twice(self, x: int | None) -> int:
        if x is None or x < 0:
            return 0
        return max(x, self.size or 3)
'''


def test_mutants_name_their_function_and_leave_annotations_and_assertions_alone() -> None:
    found = mutants("m.py", SOURCE)
    assert len({mutant.source for mutant in found}) == len(found)
    assert all("int & None" not in mutant.source and "frozen=False" not in mutant.source for mutant in found)
    by_line = {(mutant.function, mutant.line, mutant.mutant) for mutant in found}
    assert ("Thing.twice", "return max(x, self.size or 3)", "return min(x, self.size or 3)") in by_line
    assert ("Thing.twice", "return 0", "pass") in by_line
    assert ("", "TABLE = (1, 2)", "TABLE = ( 2)") in by_line
    assert {mutant.lines for mutant in found if mutant.line.startswith("if x")} == {(8, 8)}
    one = next(mutant for mutant in found if mutant.mutant == "return min(x, self.size or 3)")
    assert "-        return max(x, self.size or 3)\n+        return min(x, self.size or 3)" in one.diff(SOURCE)


def test_a_number_that_is_replaced_by_itself_is_no_mutant() -> None:
    assert {mutant.mutant for mutant in mutants("m.py", "LARGEST = 1e300\n")} == set()
    assert {mutant.mutant for mutant in mutants("m.py", "SMALL = 1\n")} == {"SMALL = 2", "SMALL = 0"}


def test_every_target_and_its_tests_exist() -> None:
    for module in TARGETS:
        assert (ROOT / module).is_file(), module
        assert all((ROOT / name).is_file() for name in targets.tests(module)), module
    assert import_name("references/eft.py") == "lastbit.references.eft"
    assert import_name("plugins/lastbit/judge.py") == "lastbit.judge"


@pytest.mark.parametrize("module", sorted({key[0] for key in listed()}))
def test_every_listed_survivor_is_a_mutant_of_a_target(module: str) -> None:
    assert module in TARGETS
    keys = {mutant.key for mutant in mutants(module, (ROOT / module).read_text(encoding="utf-8"))}
    assert [key for key in listed() if key[0] == module and key not in keys] == []


@pytest.mark.parametrize(("reason", "twice", "said"), [("", False, "has no reason"), ("so", True, "is listed twice")])
def test_a_survivor_is_listed_once_and_with_a_reason(tmp_path: Path, reason: str, twice: bool, said: str) -> None:
    row = '[[survivor]]\nmodule = "m.py"\nfunction = "f"\nline = "x"\nmutants = ["y"]\nkind = "cost"\n'
    row += f'reason = "{reason}"\n'
    (tmp_path / "list.toml").write_text(row * (1 + twice))
    with pytest.raises(SurvivorsError, match=said):
        listed(tmp_path / "list.toml")


def test_a_trial_tells_the_killed_from_the_survivors_and_touches_no_file() -> None:
    """In a process of its own: mutants of a function that is called, of one that nothing calls, and of the module."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from mutation.mutants import mutants
from mutation.trial import ROOT, try_all
module = "plugins/lastbit/vacuity.py"
source = (ROOT / module).read_text()
chosen = mutants(module, source)[::16]
outcomes = [how for _, how in try_all(module, ("suites/meta/test_vacuity.py",), chosen)]
assert (ROOT / module).read_text() == source
print(len(outcomes), *sorted(set(outcomes)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    count, *outcomes = done.stdout.split()
    assert int(count) > 3
    assert KILLED in outcomes
    assert set(outcomes) <= {KILLED, SURVIVED, UNTESTED, "hung"}
