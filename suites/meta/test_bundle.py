"""Submission bundles: what follows from the records is proved, all else is told, whatever a stranger packed."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit import policy
from lastbit.cli import main
from lastbit.errors import BundleError, GoldenError, RecordError
from lastbit.golden import drift, match, store
from lastbit.golden.bundled import unproved, used
from lastbit.reports import bundle, bundle_check
from lastbit.reports.bundle_facts import facts
from lastbit.reports.run import encode, read
from lastbit.verdict import Outcome

from .record_examples import SLUG, environment, record, store_run

FAILED = record(
    kernel="mine/bad", outcome=Outcome.OVER_BUDGET, measured=24.6, reason="max error 18.5 ulp", utilisation=24.6
)
REPORT = ("index.html", "report.md", "junit.xml", "ctrf.json", "badge.svg")
KNOWN = policy.Known("F1", "mine/bad", "bound", "*", Outcome.OVER_BUDGET, "sums in f16")
Files = dict[str, bytes]
Change = Callable[[Files], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of the bundle of a run with a failure, a known one, and a baseline."""
    folder = tmp_path_factory.mktemp("run")
    same = record(case="same/m8-n8-k8", golden="same")
    store.save(store.path_of(folder / "golden", "gemm", SLUG), [baseline(same)])
    store_run(folder, record(), FAILED, replace(FAILED, case="known", known="F1"), same)
    path = folder / "run.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"exitstatus":0', b'"exitstatus":1'))
    run = read(path)
    rows = policy.Rows(findings=(KNOWN,))
    return bundle_check.contents(run, path.read_bytes(), rows, used(run, folder / "golden"))


def baseline(like: object) -> store.Golden:
    return store.golden(like, env="lastbit0.1.0", by="abc", day="2026-11-20", reason="seen")  # type: ignore[arg-type]


def repacked(files: Mapping[str, bytes], **said: object) -> bytes:
    """The bundle of files that somebody changed, hashes and all."""
    rest = {name: content for name, content in files.items() if name != bundle.MANIFEST}
    head = replace(bundle.manifest(files), files=bundle.entries(rest), **said)  # type: ignore[arg-type]
    return bundle.packed(rest | {bundle.MANIFEST: bundle.encode(head)})


def checked(content: bytes, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and output of the command."""
    path.write_bytes(content)
    status = main(["report", "--check", str(path)])
    told = capsys.readouterr()
    return status, told.out + told.err


def with_line(name: str, old: bytes, new: bytes) -> Change:
    def change(files: Files) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def without(name: str) -> Change:
    return lambda files: files.pop(name) and None


def added(name: str) -> Change:
    return lambda files: files.update({name: b"x\n"})


def without_a_record(files: Files) -> None:
    lines = files["run.jsonl"].splitlines(keepends=True)
    files["run.jsonl"] = b"".join([lines[0], *lines[2:-1], lines[-1].replace(b'"records":4', b'"records":3')])


def with_a_failure_passed(files: Files) -> None:
    """The whole of the bundle made anew of records with one outcome changed."""
    text = files["run.jsonl"].replace(b'"over_budget"', b'"pass"', 1).replace(b'"exitstatus":1', b'"exitstatus":0')
    files["run.jsonl"] = text
    files |= bundle_check.report(bundle_check._run(files), text)


# What is proved.


def test_bundle_of_a_run_is_proved(good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = checked(bundle.packed(good), tmp_path / "b.zip", capsys)
    assert status == 0, told
    assert "DOES NOT CONFORM: 1 of 2 kernels fails 1 of 4 checks: mine/bad" in told
    assert f"hashes of {len(good) - 1} files hold, and its report follows from its records, commit abc1234." in told
    names = {"run.jsonl", "environment.json", "policy.json", "MANIFEST.json", f"golden/gemm.{SLUG}.jsonl", *REPORT}
    assert set(good) == names


def test_same_run_gives_the_same_bytes(good: Files) -> None:
    content = bundle.packed(good)
    assert bundle.packed(dict(reversed(good.items()))) == content
    assert bundle.unpacked(content, "b") == good
    infos = zipfile.ZipFile(io.BytesIO(content)).infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_command_packs_what_it_proves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, target = store_run(tmp_path / "run", record()), tmp_path / "b.zip"
    assert main(["report", str(folder), "--bundle", str(target), "--golden", str(tmp_path / "golden")]) == 0
    assert f"prove it with: lastbit report --check {target}" in capsys.readouterr().out
    assert main(["report", "--check", str(target)]) == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("report.md", with_line("report.md", b"24.6", b"0.46")),
        ("report.md", with_line("report.md", b"18.5 ulp", b"81.5 ulp")),
        ("report.md", with_line("report.md", b"DOES NOT CONFORM", b"CONFORMS")),
        ("ctrf.json", with_line("ctrf.json", b'"failed": 1', b'"failed": 0')),
        ("junit.xml", with_line("junit.xml", b'failures="1"', b'failures="0"')),
        ("badge.svg", with_line("badge.svg", b"</text>", b"!</text>")),
        ("index.html", with_line("index.html", b"mine/bad", b"mine/god")),
        ("environment.json", with_line("environment.json", b"AMD EPYC", b"AMD EPIC")),
        ("ctrf.json", with_line("run.jsonl", b'"measured":24.6', b'"measured":3.5')),
        ("report.md", without_a_record),
        ("run.jsonl", with_line("run.jsonl", b'{"type":"record"', b'{"type":"recard"')),
        ("run.jsonl", with_line("run.jsonl", b'"max_ulp":2.0', b'"max_ulp":"2"')),
        ("run.jsonl", with_line("run.jsonl", b'"records":4', b'"records":5')),
        ("run.jsonl", with_line("run.jsonl", b'"lost":0', b'"lost":1')),
        ("run.jsonl", with_line("run.jsonl", b'"exitstatus":1', b'"exitstatus":0')),
        ("run.jsonl", with_a_failure_passed),
        ("run.jsonl", with_line("policy.json", b'"id": "F1"', b'"id": "F2"')),
        ("policy.json", with_line("policy.json", b'"id": "F1"', b'"id":  "F1"')),
        ("policy.json", with_line("policy.json", b"{", b"[")),
        ("no baseline", without(f"golden/gemm.{SLUG}.jsonl")),
        ("golden/x.jsonl", added("golden/x.jsonl")),
        ("h is", with_line(f"golden/gemm.{SLUG}.jsonl", b'"rms":0.25', b'"rms":0.5')),
        ("is missing", without("badge.svg")),
        ("is no file of a report", added("notes.txt")),
    ],
    ids=map(str, count()),
)
def test_what_does_not_follow_is_told_though_its_hashes_hold(
    name: str, change: Change, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = dict(good)
    change(changed)
    status, told = checked(repacked(changed), tmp_path / "b.zip", capsys)
    assert status == 1, told
    assert name in told
    assert "NOT PROVED" in told


@pytest.mark.parametrize("name", [*REPORT, "run.jsonl", "policy.json", f"golden/gemm.{SLUG}.jsonl"])
def test_file_that_is_not_what_was_packed_is_named(
    name: str, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = checked(bundle.packed(good | {name: good[name] + b" "}), tmp_path / "b.zip", capsys)
    assert (status, told.count("\n")) == (1, 2)
    assert f"{name}: is not what was packed" in told
    status, told = checked(bundle.packed({key: good[key] for key in good if key != name}), tmp_path / "b.zip", capsys)
    assert (status, f"{name}: is missing" in told) == (1, True)
    status, told = checked(bundle.packed(good | {"more.txt": b""}), tmp_path / "b.zip", capsys)
    assert (status, "more.txt: MANIFEST.json does not name it" in told) == (1, True)


@pytest.mark.parametrize(
    ("name", "value"), [("verdict", "CONFORMS"), ("commit", "f00"), ("dirty", True), ("exitstatus", 0), ("started", "")]
)
def test_manifest_says_nothing_that_the_records_do_not(
    name: str, value: object, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = checked(repacked(good, **{name: value}), tmp_path / "b.zip", capsys)
    assert (status, f"MANIFEST.json: {name} is {value!r}" in told) == (1, True)


def test_number_of_another_lastbit_has_to_follow_and_its_words_do_not(
    good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = good | {"report.md": good["report.md"].replace(b"none: not judged", b"none: nothing was judged")}
    status, told = checked(repacked(words), tmp_path / "b.zip", capsys)
    assert (status, "report.md" in told) == (1, True)
    status, told = checked(repacked(words, writer="another"), tmp_path / "b.zip", capsys)
    assert (status, "written by another lastbit" in told) == (0, True)
    status, told = checked(repacked(words | {"more.txt": b""}, writer="another"), tmp_path / "b.zip", capsys)
    assert (status, "more.txt: is no file of a report" in told) == (1, True)
    for name, old, new in (
        ("report.md", b"max error 18.5 ulp", b"max error 0.85 ulp"),
        ("report.md", b"| 24.6 |", b"| 0.6 |"), ("report.md", b"**DOES NOT CONFORM", b"**CONFORMS"),
        ("ctrf.json", b'"status": "failed"', b'"status": "passed"'), ("junit.xml", b'failures="1"', b'failures="0"'),
        ("ctrf.json", b'"failed": 1', b'"failed": 0'), ("badge.svg", b"</text>", b"!</text>"),
        ("junit.xml", b"<?xml", b"<!DOCTYPE x><?xml"), ("ctrf.json", b"{", b""), ("badge.svg", b"<svg", b"<sv"),
    ):  # fmt: skip
        changed = dict(words)
        with_line(name, old, new)(changed)
        status, told = checked(repacked(changed, writer="another"), tmp_path / "b.zip", capsys)
        assert (status, f"{name}: does not follow" in told) == (1, True), (name, old)


def test_facts_of_every_file_of_a_report_are_read(good: Files) -> None:
    for name in REPORT:
        found = facts(name, good[name])
        assert found
        assert "cannot be read" not in str(found)[:60], name
        assert facts(name, b"\xff") != found


# What cannot be packed.


def test_run_that_was_killed_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store_run(tmp_path / "run", record(), end=False)
    assert main(["report", str(folder), "--bundle", str(tmp_path / "b.zip"), "--golden", str(tmp_path / "golden")]) == 2
    assert "did not come to its end" in capsys.readouterr().err
    assert not (tmp_path / "b.zip").exists()


def test_run_whose_baselines_changed_since_is_no_bundle(tmp_path: Path) -> None:
    path = store.path_of(tmp_path, "gemm", SLUG)
    run = read(store_run(tmp_path / "run", record(golden="same")))
    with pytest.raises(GoldenError, match="has no baseline of it; name the folder of the run with --golden DIR"):
        used(run, tmp_path)
    store.save(path, [baseline(record(rms=0.001, digest=""))])
    with pytest.raises(GoldenError, match=r"says golden same, but by its baseline it is drifted rms 0\.25 was 0\.001"):
        used(run, tmp_path)
    store.save(path, [baseline(record()), baseline(record(case="another"))])
    (content,) = used(run, tmp_path).values()
    assert content.count(b"\n") == 1, "only the line that was used"
    assert unproved(run, {f"golden/{path.name}": path.read_bytes()}) == [
        f"golden/{path.name}: no record was compared with its line of mine/gemm a:bf16,b:bf16,out:f32 bound another"
    ]


def test_baseline_of_another_device_that_a_record_quotes_is_taken_along(tmp_path: Path) -> None:
    slug = SLUG.replace("f26m2", "f26m9")
    store.save(store.path_of(tmp_path, "gemm", slug), [baseline(record(rms=0.001, digest=""))])
    moved = "rms 0.25 was 0.001 (limit 0.001437)"
    run = read(store_run(tmp_path / "run", record(golden=f"new: on {slug} it would be drifted, {moved}")))
    assert list(used(run, tmp_path)) == [f"golden/gemm.{slug}.jsonl"]
    new = read(store_run(tmp_path / "other", record(golden="new")))
    assert used(new, tmp_path) == {}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([0.001, 0.1, 1.0, 3.0, 50.0]),
    st.sampled_from(["", "0123456789abcdef"]),
    st.sampled_from([0, 7]),
    st.sampled_from([40, 4096]),
    st.sampled_from(["2026-11-20", "2025-01-01"]),
    st.sampled_from([SLUG, SLUG.replace("f26m2", "f26m9")]),
    st.booleans(),
)
def test_whatever_a_run_says_of_its_baselines_follows_from_them(
    factor: float, digest: str, seed: int, n: int, day: str, slug: str, same_software: bool
) -> None:
    """Same, drifted, better, stale, regressed, and new with advice of another device."""
    with TemporaryDirectory() as place:
        folder, here = Path(place), environment()
        old = record(rms=0.25 / factor, utilisation=min(0.2 / factor, 1.0), digest=digest, n=n)
        software = here.software("mine/gemm") if same_software else "older"
        adopted = store.golden(old, env=software, by="abc", day=day, reason="seen")
        store.save(store.path_of(folder / "golden", "gemm", slug), [adopted])
        baselines = match.baselines("gemm", SLUG, folder / "golden")
        judged = drift.judged(record(seed=seed), baselines, here, date(2026, 11, 25))
        assert judged.golden
        run = read(store_run(folder / "run", judged, record(case="untold", golden="new")))
        files = used(run, folder / "golden")
        assert len(files) == 1
        assert unproved(run, files) == []
        other = replace(judged, golden=judged.golden.replace("same", "better").replace("drifted", "same"))
        if other != judged:
            assert unproved(replace(run, records=(other,)), files)


def test_arguments_that_do_not_go_together_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", "--check", "b"], ["--bundle", "b"], ["a", "b", "--bundle", "c"], []):
        assert main(["report", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    folder = store_run(tmp_path / "run", record())
    assert main(["report", str(folder), "--bundle", str(tmp_path / "no" / "b.zip")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert main(["report", "--check", str(tmp_path / "none.zip")]) == 2
    assert "cannot read" in capsys.readouterr().err


# What is no bundle.


def sealed(infos: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """A zip as somebody makes it who knows the seal."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, content in infos:
            archive.writestr(info, content)
    return resealed(buffer.getvalue()[:-22], buffer.getvalue()[-22:-2])


def resealed(body: bytes, end: bytes) -> bytes:
    return body + end + bundle._COMMENT.to_bytes(2, "little") + bundle._seal(body)


def info(name: str, **changed: object) -> zipfile.ZipInfo:
    made = bundle._info(name)
    for key, value in changed.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("told", "made"),
    [
        *(("is no name", info(name)) for name in ("../x", "/etc/passwd", "a/../b", "a/b/c", "..", "a\\b", ".x", "C:x")),
        *(("is no name", info(name)) for name in ("x" * 201, "é", "a\x1b[2J", "a//b", "a/", "a b")),
        ("is a link", info("x", external_attr=(stat.S_IFLNK | 0o777) << 16)),
        ("is a link", info("x", external_attr=0)),
        ("is a link", info("x", extra=b"\xfe\xca\0\0")),
        ("is a link", info("x", comment=b"c")),
        ("is a link", info("x", date_time=(2026, 1, 1, 0, 0, 0))),
        ("packed by method 0", info("x", compress_type=zipfile.ZIP_STORED)),
        ("packed by method 12", info("x", compress_type=zipfile.ZIP_BZIP2)),
    ],
)
def test_file_that_leads_elsewhere_or_is_none_is_not_unpacked(told: str, made: zipfile.ZipInfo, good: Files) -> None:
    infos = [(bundle._info(bundle.MANIFEST), good[bundle.MANIFEST]), (made, b"x" * 40)]
    with pytest.raises(BundleError, match=told):
        bundle.unpacked(sealed(sorted(infos, key=lambda one: one[0].filename)), "b.zip")


def test_names_that_are_twice_there_or_unsorted_are_refused() -> None:
    for names in (("MANIFEST.json", "a", "a"), ("a", "MANIFEST.json"), ("a", "b")):
        with pytest.warns(UserWarning, match="Duplicate") if "a" in names[1:2] * 2 else pytest.MonkeyPatch.context():
            content = sealed([(bundle._info(name), b"") for name in names])
        with pytest.raises(BundleError, match="twice there, not sorted, or without"):
            bundle.unpacked(content, "b.zip")


def test_bomb_is_not_unpacked(good: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    head = (bundle._info(bundle.MANIFEST), good[bundle.MANIFEST])
    with pytest.raises(BundleError, match="says that it has 3000000 bytes"):
        bundle.unpacked(sealed([head, (bundle._info("a"), b"\0" * 3_000_000)]), "b.zip")
    content = bytearray(sealed([head, (bundle._info("a"), b"0123456789")]))
    monkeypatch.setattr(bundle, "MOST_FILE", 9)
    with pytest.raises(BundleError, match="says that it has"):
        bundle.unpacked(bytes(content), "b.zip")
    monkeypatch.setattr(bundle, "MOST_FILES", 1)
    with pytest.raises(BundleError, match="holds more than 1 files"):
        bundle.unpacked(bytes(content), "b.zip")


def test_size_that_a_file_does_not_have_is_told(good: Files) -> None:
    """A directory that says less than there is: no more than that is unpacked, and then its hash is wrong."""
    content = sealed([(bundle._info(bundle.MANIFEST), good[bundle.MANIFEST]), (bundle._info("a"), b"x" * 4000)])
    body, end = content[: -22 - bundle._COMMENT], content[-22 - bundle._COMMENT :][:20]
    place = body.rindex(b"PK\1\2") + 24
    short = body[:place] + struct.pack("<L", 10) + body[place + 4 :]
    with pytest.raises(BundleError, match="damaged zip file"):
        bundle.unpacked(resealed(short, end), "b.zip")


def test_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_PACKED", 10)
    (tmp_path / "b.zip").write_bytes(b"x" * 11)
    with pytest.raises(BundleError, match="has 11 bytes, expected 10 at most; it is not read"):
        bundle.read(tmp_path / "b.zip")
    monkeypatch.setattr(bundle, "MOST_FILE", 10)
    with pytest.raises(BundleError, match=r"^a: has 11 bytes, a bundle's files have at most 10"):
        bundle.packed({"a": b"x" * 11})


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path):
        if path.exists():
            with pytest.raises(BundleError, match="is not sealed"):
                bundle.read(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + b"\0" * 18, b"x" * 5000, b'{"type":"run"}\n'])
def test_what_is_no_bundle_is_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = checked(content, tmp_path / "b.zip", capsys)
    assert (status, told.count("\n")) == (2, 1)
    assert "is not sealed as a bundle is" in told


def test_manifest_is_read_strictly(good: Files) -> None:
    head = good[bundle.MANIFEST]
    for changed in (
        *(b"", b"[]", b"[" * 100_000, b"\xff", head + b" ", head.replace(b'"v": 1', b'"v": 2')),
        *(head.replace(b'"v": 1', b'"v": 1,\n "w": 1'), head.replace(b'"dirty": false', b'"dirty": 0')),
    ):
        with pytest.raises(BundleError, match=r"^MANIFEST\.json: "):
            bundle.manifest({bundle.MANIFEST: changed})


def test_any_changed_byte_is_found(good: Files, tmp_path_factory: pytest.TempPathFactory) -> None:
    content, path = bundle.packed(good), tmp_path_factory.mktemp("fuzz") / "b.zip"

    @given(st.integers(0, len(content) - 1), st.integers(1, 255))
    def one_byte(place: int, by: int) -> None:
        path.write_bytes(content[:place] + bytes([content[place] ^ by]) + content[place + 1 :])
        assert main(["report", "--check", str(path)]) == 2

    @given(st.integers(0, len(content)), st.integers(0, len(content)), st.binary(max_size=9))
    def a_stretch(start: int, end: int, put: bytes) -> None:
        changed = content[: min(start, end)] + put + content[max(start, end) :]
        path.write_bytes(changed)
        assert main(["report", "--check", str(path)]) == (0 if changed == content else 2)

    one_byte()
    a_stretch()


def test_zip_that_is_sealed_anew_after_a_change_ends_in_no_traceback(
    good: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Somebody who knows the seal changes the directory, heads of files, or what is packed."""
    content, path = bundle.packed(good), tmp_path_factory.mktemp("fuzz") / "b.zip"
    body, end = content[: -22 - bundle._COMMENT], content[-22 - bundle._COMMENT :][:20]
    directory = body.index(b"PK\1\2")
    places = st.integers(directory, len(body) - 1) | st.integers(0, len(body) - 1)

    @settings(deadline=None)
    @given(places, st.binary(min_size=1, max_size=4), st.booleans())
    def changed(place: int, put: bytes, longer: bool) -> None:
        new = body[:place] + put + body[place + (0 if longer else len(put)) :]
        path.write_bytes(resealed(new, end))
        status = main(["report", "--check", str(path)])
        assert status == 2 or (status == 0 and bundle.read(path) == good), "the same files, whatever else is changed"

    changed()


@pytest.mark.parametrize(
    "content",
    [
        *(b"<a>", b"", b"\xff", b"<!DOCTYPE a><a/>", b"[" * 100_000, b"null", b"\0", b'{"results": 1}'),
        *(b'{"results": {}}', b'<script type="application/json" id="summary">{</script><'),
    ],
)
def test_facts_of_what_cannot_be_read_say_so(content: bytes) -> None:
    for name in ("index.html", "ctrf.json", "junit.xml", "badge.svg"):
        assert str(facts(name, content)).startswith(f"{name} cannot be read: ")


SHARP = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"0",
    b"-1",
    b"1e999",
    b"1e308",
    b"null",
    b"\n",
    b"\xff",
    b"[" * 9000,
    b"\\u0000",
]


def test_no_content_that_is_sealed_anew_ends_in_a_traceback(
    good: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a stranger changes and packs again is proved or is not; nothing of it stops the check."""
    path = tmp_path_factory.mktemp("fuzz") / "b.zip"
    names = sorted(good)

    @settings(deadline=None)
    @given(st.sampled_from(names), st.integers(0), st.integers(0, 40), st.sampled_from(SHARP) | st.binary(max_size=4))
    def changed(name: str, place: int, length: int, put: bytes) -> None:
        text = good[name]
        start = place % (len(text) + 1)
        files = good | {name: text[:start] + put + text[start + length :]}
        try:
            content = bundle.packed(files) if name == bundle.MANIFEST else repacked(files)
        except BundleError:
            return
        path.write_bytes(content)
        assert main(["report", "--check", str(path)]) in (0, 1, 2)

    changed()


@settings(deadline=None)
@given(st.sampled_from(["measured", "allowed", "seconds", "seed"]), st.floats() | st.integers())
def test_records_with_any_number_are_told_of(name: str, value: float) -> None:
    """A number that JSON holds and no run leaves makes a fault of one line, or a report."""
    files = {"run.jsonl": lines_of(name, value)}
    try:
        run = bundle_check._run(files)
    except RecordError:
        return
    head = bundle_check._manifest(run, files)
    _, wrong = bundle_check.faults(files | {bundle.MANIFEST: b""}, head)
    assert wrong


def lines_of(name: str, value: float) -> bytes:
    data = msgspec.json.decode(encode(record())) | {name: value}
    text = HEAD + msgspec.json.encode(data) + b"\n" + END
    return text.replace(b'"measured":null', b'"measured":1e400')


HEAD = b'{"type":"run","environment":{},"started":"2026-11-25T10:00:00+00:00","v":1}\n'
END = b'{"type":"end","ended":"2026-11-25T10:00:01+00:00","records":1}\n'
