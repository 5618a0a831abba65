"""The golden store: what is written is read back, and whatever a hand or a merge can spoil is refused by name."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.environment import Fingerprint
from lastbit.errors import GoldenError
from lastbit.golden import store
from lastbit.golden.match import Level, baselines, near
from lastbit.golden.store import Golden, decode, encode, golden, load, rounded, save
from lastbit.verdict import Outcome

from .record_examples import SLUG, record

KEPT = {"env": "numpy2.4.6 threads2", "by": "abc1234", "day": "2026-11-25", "reason": "first"}
words = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=12)
sizes = st.floats(0, 1e300).map(rounded)
goldens = st.builds(
    Golden, key=st.lists(words, min_size=4, max_size=4).map(" ".join), n=st.integers(1, 2**40), max_ulp=sizes,
    p99_ulp=sizes, rms=sizes, bias=st.floats(-1, 1).map(rounded), utilisation=sizes, digest=words,
    seed=st.integers(0, 2**62), env=words, by=words, date=st.just("2026-11-25"), reason=words, v=st.just(1),
)  # fmt: skip


def one(case: str = "gauss/m17-n33-k65", **changed: float) -> Golden:
    return golden(record(case=case, **changed), **KEPT)


def stored(folder: Path, *cases: str) -> Path:
    path = store.path_of(folder, "gemm", SLUG)
    save(path, [one(case) for case in cases])
    return path


@given(st.lists(goldens, max_size=8, unique_by=lambda golden: golden.key))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_goldens_survive_the_file(tmp_path_factory: pytest.TempPathFactory, records: list[Golden]) -> None:
    path = store.path_of(tmp_path_factory.mktemp("golden"), "gemm", SLUG)
    save(path, records)
    assert path.exists() == bool(records)
    if records:
        assert load(path) == {record.key: record for record in records}


def test_line_is_key_first_hash_last_and_floats_have_four_digits() -> None:
    line = encode(one(rms=0.123456789, max_ulp=2 / 3))
    assert line.startswith('{"key":"mine/gemm a:bf16,b:bf16,out:f32 bound gauss/m17-n33-k65","n":4096,')
    assert '"max_ulp":0.6667,' in line
    assert '"rms":0.1235,' in line
    assert line.rpartition(",")[2].startswith('"h":"')


def test_file_is_sorted_whatever_the_order_given(tmp_path: Path) -> None:
    path = stored(tmp_path, "c", "a", "b")
    assert [key.rpartition(" ")[2] for key in load(path)] == ["a", "b", "c"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PASS])
def test_only_a_pass_becomes_golden(outcome: Outcome) -> None:
    with pytest.raises(GoldenError, match=outcome.value):
        golden(record(outcome=outcome), **KEPT)


def test_record_without_statistics_does_not_become_golden() -> None:
    with pytest.raises(GoldenError, match="only a pass with statistics"):
        golden(record(stats=None), **KEPT)


def test_record_whose_statistics_are_no_numbers_does_not_become_golden() -> None:
    with pytest.raises(GoldenError, match="max_ulp is not finite"):
        golden(record(max_ulp=float("nan")), **KEPT)


def test_more_ulp_than_a_number_holds_is_the_largest_number() -> None:
    """In f64 the error of an answer of 1e-320 may be more ulp of it than f64 has numbers for."""
    kept = golden(record(max_ulp=float("inf")), **KEPT)
    assert kept.max_ulp == rounded(1.7976e308) == store.LARGEST
    assert decode(encode(kept).encode(), "here") == kept


def rehashed(line: bytes, **changed: object) -> bytes:
    """`line` with fields changed and a hash that fits, as an attacker or a faulty tool would write it."""
    data = msgspec.json.decode(line) | changed
    data["h"] = store._hash(data)
    return msgspec.json.encode(data)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "tampered": (lambda line: line.replace(b'"max_ulp":2.0', b'"max_ulp":9.0'), "it was edited"),
    "no hash": (lambda line: line.replace(b',"h":', b',"v2":'), "has unknown v2"),
    "not json": (lambda line: line[:-1], "not a line of JSON"),
    "not utf-8": (lambda line: line.replace(b"first", b"f\xffrst"), "UTF-8"),
    "nan": (lambda line: line.replace(b'"rms":0.25', b'"rms":NaN'), "not a line of JSON"),
    "null": (lambda line: line.replace(b'"rms":0.25', b'"rms":null'), "rms is None, expected a finite number"),
    "negative": (lambda line: rehashed(line, rms=-1.0), "rms is -1.0, expected no negative number"),
    "bias": (lambda line: rehashed(line, bias=1.5), "bias is 1.5, expected a number from -1 to 1"),
    "text for number": (lambda line: line.replace(b'"n":4096', b'"n":"4096"'), "Expected `int`, got `str`"),
    "no elements": (lambda line: rehashed(line, n=0), "n is 0"),
    "bad key": (lambda line: rehashed(line, key="mine/gemm"), "expected '<kernel> <formats> <check> <case>'"),
    "bad date": (lambda line: rehashed(line, date="yesterday"), "Invalid isoformat string: 'yesterday'"),
    "field missing": (lambda line: line.replace(b'"n":4096,', b""), "lacks n"),
    "field unknown": (lambda line: line.replace(b'"n":4096', b'"n":4096,"m":1'), "has unknown m"),
    "newer schema": (lambda line: rehashed(line, v=2), "v is 2, this lastbit reads up to 1; update lastbit"),
    "schema missing": (lambda line: line.replace(b'"v":1,', b""), "v is None"),
    "not an object": (lambda line: b'"text"', "is not a JSON object"),
    "conflict": (lambda line: b"<<<<<<< HEAD\n" + line, "a merge conflict is not resolved"),
    "empty line": (lambda line: b"", "not a line of JSON"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_golden_is_refused_naming_file_line_and_rule(tmp_path: Path, damage: str) -> None:
    path = stored(tmp_path, "a", "b", "c")
    lines = path.read_bytes().split(b"\n")
    change, said = DAMAGE[damage]
    assert change(lines[1]) != lines[1]
    lines[1] = change(lines[1])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(GoldenError) as error:
        load(path)
    assert f"{path}:2: " in str(error.value)
    assert said in str(error.value)


def test_any_changed_byte_of_a_golden_line_is_noticed() -> None:
    """Every single-byte change of a line is refused, or leaves the record as it was (a change of number's spelling)."""
    record, line = one(), encode(one()).encode()
    for place in range(len(line)):
        for byte in (b"0", b"5", b"x", b" ", b'"'):
            changed = line[:place] + byte + line[place + 1 :]
            try:
                assert decode(changed, "here") == record
            except GoldenError:
                continue


@pytest.mark.parametrize(
    ("order", "said"),
    [((1, 0, 2), "expected sorted lines"), ((0, 0, 1), "is there twice"), ((0, 1, 1), "is there twice")],
)
def test_unsorted_or_doubled_goldens_are_refused(tmp_path: Path, order: tuple[int, ...], said: str) -> None:
    path = stored(tmp_path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(GoldenError, match=said):
        load(path)


def test_conflicting_goldens_of_one_key_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, "a")
    path.write_bytes(path.read_bytes() + encode(one("a", rms=0.5)).encode() + b"\n")
    with pytest.raises(GoldenError, match="is there twice"):
        load(path)


def test_golden_file_cut_off_in_a_line_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, "a", "b")
    for cut in range(1, path.stat().st_size, 37):
        path.write_bytes(stored(tmp_path, "a", "b").read_bytes()[:-cut])
        if path.read_bytes()[-1:] != b"\n":
            with pytest.raises(GoldenError, match="cut off"):
                load(path)


@pytest.mark.parametrize("name", ["notes.jsonl", "gemm.h100.jsonl", f"Gemm.{SLUG}.jsonl"])
def test_file_that_is_not_named_as_a_golden_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(GoldenError, match="device slug"):
        store.find("gemm", tmp_path)


def test_read_only_folder_is_told_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, "a")
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(GoldenError, match="No space left on device"):
        save(path, [one("b")])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_whole_file_is_on_the_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    path = stored(tmp_path, "gauss/m17-n33-k65", "zeros/m1-n1-k1")
    assert sizes == [path.stat().st_size]


def merged(tmp_path: Path, mine: list[str], base: list[str], theirs: list[str]) -> tuple[int, Path]:
    """Status of `git merge-file` and the merged file, of three versions with these cases."""
    paths = [stored(tmp_path / side, *cases) for side, cases in (("mine", mine), ("base", base), ("theirs", theirs))]
    status = subprocess.run(["git", "merge-file", *map(str, paths)], check=False, capture_output=True).returncode
    return status, paths[0]


def test_merge_of_two_sides_adding_apart_is_valid(tmp_path: Path) -> None:
    base = ["c", "f", "k"]
    status, path = merged(tmp_path, ["a", *base], base, [*base, "z"])
    assert status == 0
    assert [key.rpartition(" ")[2] for key in load(path)] == ["a", "c", "f", "k", "z"]


def test_merge_conflict_is_refused_until_resolved(tmp_path: Path) -> None:
    status, path = merged(tmp_path, ["a", "b1"], ["a"], ["a", "b2"])
    assert status == 1
    with pytest.raises(GoldenError, match="a merge conflict is not resolved"):
        load(path)


def test_union_merge_that_doubles_a_key_is_refused(tmp_path: Path) -> None:
    paths = [stored(tmp_path / side, "a") for side in ("mine", "base", "theirs")]
    save(paths[0], [one("a", rms=0.5)])
    save(paths[2], [one("a", rms=0.75)])
    subprocess.run(["git", "merge-file", "--union", *map(str, paths)], check=True)
    with pytest.raises(GoldenError, match="is there twice"):
        load(paths[0])


def test_project_goldens_overlay_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    save(store.path_of(shipped, "gemm", SLUG), [one("a"), one("b")])
    save(store.path_of(own, "gemm", SLUG), [one("b", rms=0.5), one("c")])
    monkeypatch.setattr("importlib.resources.files", lambda package: shipped)
    found = store.find("gemm", own)[SLUG]
    assert {key.rpartition(" ")[2]: record.rms for key, record in found.items()} == {"a": 0.25, "b": 0.5, "c": 0.25}
    assert store.find("softmax", own) == {}


def test_shipped_goldens_are_all_usable() -> None:
    for path in store.files(Path(store.__file__).parent):
        assert load(path)


ME = Fingerprint.parse(SLUG)


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (ME, Level.EXACT),
        (replace(ME, units="f25m97"), Level.FAMILY),
        (replace(ME, isa="avx2"), Level.FAMILY),
        (replace(ME, product="intel_xeon"), Level.ARCH),
        (replace(ME, arch="aarch64"), Level.NONE),
        (Fingerprint("cuda", "sm90", "h100", "132"), Level.NONE),
    ],
)
def test_nearness_of_devices(other: Fingerprint, level: Level) -> None:
    assert near(ME, other) is level


def test_unknown_device_is_near_nothing() -> None:
    unknown = Fingerprint("cuda", "unknown", "unknown", "0")
    assert near(unknown, unknown) is Level.NONE


def test_nearest_device_speaks_for_a_key(tmp_path: Path) -> None:
    cousin, stranger = "cpu-x86_64-avx2-amd_epyc-f23m49", "cpu-x86_64-avx512-intel_xeon-f6m85"
    save(store.path_of(tmp_path, "gemm", SLUG), [one("own")])
    save(store.path_of(tmp_path, "gemm", cousin), [one("own"), one("cousin")])
    save(store.path_of(tmp_path, "gemm", stranger), [one("own"), one("cousin"), one("stranger")])
    save(store.path_of(tmp_path, "gemm", "cuda-sm90-h100-132"), [one("gpu")])
    found = baselines("gemm", SLUG, tmp_path)
    levels = {case: found.match(one(case).key) for case in ("own", "cousin", "stranger", "gpu")}
    assert {case: (match.level, match.slug) for case, match in levels.items()} == {
        "own": (Level.EXACT, SLUG),
        "cousin": (Level.FAMILY, cousin),
        "stranger": (Level.ARCH, stranger),
        "gpu": (Level.NONE, ""),
    }


def test_a_line_that_is_no_object_is_shown_as_far_as_a_line_has_room() -> None:
    """Forty characters of it."""
    with pytest.raises(GoldenError) as raised:
        decode(b'"' + b"0123456789" * 5 + b'"', "here:3")
    assert str(raised.value).startswith(f"here:3: '{'0123456789' * 4}' is not a JSON object; ")
