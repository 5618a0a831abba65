"""Golden files at the edges of their rules: folders that are none, names, permissions, and numbers just not allowed."""

from pathlib import Path

import msgspec
import pytest

from lastbit.errors import GoldenError
from lastbit.golden import store
from lastbit.golden.match import Level, baselines
from lastbit.golden.store import comparable, decode, encode, golden, load, save
from lastbit.verdict import ErrorStats

from .record_examples import SLUG, record

KEPT = {"env": "numpy2.4.6 threads2", "by": "abc1234", "day": "2026-11-25", "reason": "first"}


def test_only_records_with_elements_and_something_allowed_can_drift() -> None:
    for n, allowed, can in (
        (0, 1.0, False),
        (1, 1.0, True),
        (2, 1.0, True),
        (1, 0.0, False),
        (1, -1.0, True),
        (1, None, True),
    ):
        one = record(stats=ErrorStats(n=n), allowed=allowed)
        assert comparable(one) is can
        if not can:
            with pytest.raises(GoldenError, match="only a pass with statistics"):
                golden(one, **KEPT)
    assert not comparable(record(stats=None))
    assert golden(record(), **KEPT).kernel == "mine/gemm"


@pytest.mark.parametrize(("field", "value", "said"), [
    ("bias", -1.5, "a number from -1 to 1"), ("bias", True, "expected a finite number"),
    ("rms", False, "a finite number"), ("v", 0, "v is 0, expected the schema's number, 1"), ("v", True, "v is True"),
    ("v", -1, "v is -1"), ("v", "1", "v is '1'"), ("max_ulp", "2", "expected a finite number"), ("n", -1, "n is -1"),
])  # fmt: skip
def test_a_number_that_is_none_or_out_of_range_is_refused(field: str, value: object, said: str) -> None:
    data = msgspec.json.decode(encode(golden(record(), **KEPT))) | {field: value}
    data["h"] = store._hash(data)
    with pytest.raises(GoldenError, match=said):
        decode(msgspec.json.encode(data), "here")
    for right in (1, -1, 0, 0.5) if field == "bias" else ():
        data["bias"] = right
        data["h"] = store._hash(data | {"bias": float(right)})
        assert decode(msgspec.json.encode(data), "here").bias == right


def test_a_file_that_is_cut_off_is_told_by_its_last_line(tmp_path: Path) -> None:
    path = store.path_of(tmp_path, "gemm", SLUG)
    save(path, [golden(record(case=case), **KEPT) for case in "abc"])
    whole = path.read_bytes()
    for line in (1, 2, 3):
        end = [i for i, byte in enumerate(whole) if byte == ord("\n")][line - 1]
        path.write_bytes(whole[: end - 3])
        with pytest.raises(GoldenError, match=f":{line}: the last line has no end"):
            load(path)
    with pytest.raises(GoldenError, match=r"cannot read \(No such file or directory\); check the folder"):
        load(tmp_path / "gone.jsonl")
    with pytest.raises(GoldenError, match="'xxxxxxxxxxxxxxxx' is not a JSON object"):
        decode(b'"xxxxxxxxxxxxxxxx"', "here")


def test_a_folder_that_is_none_adds_nothing(tmp_path: Path) -> None:
    shipped = store.find("gemm", None)
    assert shipped
    assert store.find("gemm", tmp_path / "gone") == shipped
    (tmp_path / "file").write_text("no folder")
    assert store.find("gemm", tmp_path / "file") == shipped
    home = Path(store.__file__).parent
    assert store.find("gemm", home) == store.find("gemm", home / ".." / home.name) == shipped


def test_the_shipped_folder_given_as_golden_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(store, "load", lambda path: read.append(path) or {})
    store.find("gemm", Path(store.__file__).parent)
    assert read == []


def test_files_of_a_folder_are_golden_files_or_refused(tmp_path: Path) -> None:
    names = [f"softmax.{SLUG}.jsonl", f"gemm.{SLUG}.jsonl"]
    for name in (*names, "README.md"):
        (tmp_path / name).write_text("")
    assert [path.name for path in store.files(tmp_path)] == sorted(names)
    (tmp_path / "gemm.somewhere.jsonl").write_text("")
    with pytest.raises(GoldenError, match="move others away"):
        store.files(tmp_path)


def test_a_saved_file_may_be_read_by_all_in_folders_that_are_made(tmp_path: Path) -> None:
    path = store.path_of(tmp_path / "deep" / "down", "gemm", SLUG)
    save(path, [golden(record(), **KEPT)])
    assert path.stat().st_mode & 0o777 == 0o644
    assert load(path)
    save(path, {})
    assert not path.exists()
    save(path, [])  # nothing to remove
    assert list(path.parent.iterdir()) == []


def test_a_temporary_file_that_vanished_is_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(temporary: str, path: Path) -> None:
        Path(temporary).unlink()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.replace", vanish)
    with pytest.raises(GoldenError, match="Input/output error"):
        save(store.path_of(tmp_path, "gemm", SLUG), [golden(record(), **KEPT)])


def test_baselines_are_those_of_the_architecture_nearest_first(tmp_path: Path) -> None:
    slugs = {
        Level.EXACT: SLUG,
        Level.FAMILY: "cpu-x86_64-avx2-amd_epyc-f23m49",
        Level.ARCH: "cpu-x86_64-avx512-intel_xeon-f6m85",
        Level.NONE: "cuda-sm90-h100-132",
    }
    twin = "cpu-x86_64-avx2-amd_epyc-f23m1"
    for slug in (*reversed(slugs.values()), twin):
        save(store.path_of(tmp_path, "zzz", slug), [golden(record(), **KEPT)])
    found = baselines("zzz", SLUG, tmp_path)
    assert (found.op, found.slug) == ("zzz", SLUG)
    assert [(level, slug) for level, slug, _ in found.files] == [
        (Level.EXACT, SLUG), (Level.FAMILY, twin), (Level.FAMILY, slugs[Level.FAMILY]), (Level.ARCH, slugs[Level.ARCH]),
    ]  # fmt: skip
    assert [records["mine/gemm a:bf16,b:bf16,out:f32 bound gauss/m17-n33-k65"].n for _, _, records in found.files] == [
        4096
    ] * 4
