"""`lastbit report --bundle` and `--check`: a run with all that proves its report, in a file to hand over."""

from pathlib import Path
from typing import TYPE_CHECKING

from lastbit.errors import BundleError

if TYPE_CHECKING:
    from lastbit.reports.run import Run

#: Faults that are told; the rest is counted.
SHOWN = 20


def pack(name: str, target: str, golden: str, project: Path) -> int:
    """Write the bundle of the run `name` to `target` and say what it holds; 0 whatever the run's verdict is.

    `golden` is the folder of baselines that the run had, `project` that of its policy files. Raises LastbitError where
    the run cannot be read, did not end, or does not follow from those.
    """
    from lastbit import policy
    from lastbit.golden.bundled import used
    from lastbit.reports import bundle, bundle_check
    from lastbit.reports.run import NAME, read

    path = Path(name) / NAME if Path(name).is_dir() else Path(name)
    run = read(path)
    files = bundle_check.contents(run, path.read_bytes(), policy.load(project), used(run, Path(golden)))
    content = bundle.packed(files)
    try:
        Path(target).write_bytes(content)
    except OSError as error:
        raise BundleError(f"{target}: cannot write ({error.strerror}); give another file with --bundle") from error
    print(f"{target}: {len(files)} files, {len(content)} bytes; prove it with: lastbit report --check {target}")
    return 0


def check(name: str) -> int:
    """Prove the bundle at `name`: 0 where all of it follows from its records, 1 where something does not.

    Raises BundleError where it is no bundle.
    """
    from lastbit.reports import bundle, bundle_check
    from lastbit.reports.summary import clean

    files = bundle.read(Path(name))
    said = bundle.manifest(files)
    run, wrong = bundle_check.faults(files, said)
    wrong += [] if run is None else _baselines(run, files)
    if wrong:
        print("\n".join(f"{name}: {clean(fault, 600)}" for fault in wrong[:SHOWN]))
        rest = f"; {len(wrong) - SHOWN} more faults" if len(wrong) > SHOWN else ""
        print(f"NOT PROVED: {len(wrong)} of what {name} says {'does' if len(wrong) == 1 else 'do'} not follow{rest}.")
        return 1
    print(clean(said.verdict, 1000))
    if not bundle_check.same_writer(said):
        print("its report was written by another lastbit: verdicts, counts and numbers were compared, words were not")
    tree = f", commit {said.commit or 'unknown'}{' (dirty)' if said.dirty else ''}"
    print(
        f"PROVED: {name}: hashes of {len(said.files)} files hold, and its report follows from its records{clean(tree)}."
    )
    return 0


def _baselines(run: "Run", files: dict[str, bytes]) -> list[str]:
    from lastbit.golden.bundled import unproved
    from lastbit.reports.bundle_check import GOLDEN

    given = {name: content for name, content in files.items() if name.startswith(GOLDEN)}
    return unproved(run, given)
