"""Bundles of strangers: whatever the file holds, it is refused or told of in a line, and nothing of it runs."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.cli import main
from lastbit.errors import BundleError, RecordError
from lastbit.reports import bundle, bundle_check
from lastbit.reports.bundle_facts import facts
from lastbit.reports.run import encode

from .bundle_examples import (
    Files,
    bundled,
    checked,
    repacked,
)
from .record_examples import record


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return bundled(tmp_path_factory.mktemp("run"))


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


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"outcome":"over_budget"', b'"outcome":"pass","outcome":"over_budget"', "has 'outcome' twice"),
        (b'"utilisation":24.6', b'"utilisation":-24.6', "utilisation is -24.6, expected 0 or more"),
        (b'"terms":0', b'"terms":-9', "terms is -9, expected 0 or more"),
    ],
)
def test_bundle_of_records_that_no_run_leaves_is_not_proved(
    good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: bytes, new: bytes, told: str
) -> None:
    changed = good | {"run.jsonl": good["run.jsonl"].replace(old, new, 1)}
    assert changed != good
    status, text = checked(repacked(changed), tmp_path / "b.zip", capsys)
    assert status == 1
    assert f"run.jsonl:{changed['run.jsonl'][: changed['run.jsonl'].index(new)].count(10) + 1}: {told}" in text


def lines_of(name: str, value: float) -> bytes:
    data = msgspec.json.decode(encode(record())) | {name: value}
    text = HEAD + msgspec.json.encode(data) + b"\n" + END
    return text.replace(b'"measured":null', b'"measured":1e400')


HEAD = b'{"type":"run","environment":{},"started":"2026-11-25T10:00:00+00:00","v":1}\n'
END = b'{"type":"end","ended":"2026-11-25T10:00:01+00:00","records":1}\n'
