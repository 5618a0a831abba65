"""The file of a submission bundle: a sealed zip of a run, of what it was compared with, and of its report."""

import hashlib
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lastbit.errors import BundleError

MANIFEST = "MANIFEST.json"
VERSION = 1
#: Limits that hold before anything is read or unpacked: of the file, of what is in it, and of one of its files.
MOST_PACKED, MOST_BYTES, MOST_FILE, MOST_FILES = 256 << 20, 512 << 20, 256 << 20, 1000
#: Times that a file may shrink, where it is large: runs do 10 to 40 times, and what does more is a trap.
MOST_RATIO, LARGE = 400, 1 << 20
#: What the zip's comment begins with; then the hash of every byte before the end record follows.
_SEAL = b"lastbit bundle sha256:"
#: The record at the end of a zip: signature, disks, files, size and place of the directory, length of the comment.
_END = struct.Struct("<4s4H2LH")
_COMMENT = len(_SEAL) + 64
_NAME = re.compile(r"(?:[A-Za-z0-9][\w+-]*/)?[A-Za-z0-9](?:[\w+-]|\.(?!\.))*", re.ASCII)
_LONGEST_NAME = 200
#: The least date that a zip can hold: a bundle of the same files is the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
_AMISS = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError, struct.error)


@dataclass(frozen=True, slots=True)
class Entry:
    """Hash and size of a file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself; all of it is proved when the bundle is checked."""

    #: Version of lastbit that packed the bundle, and a hash of the code that wrote its report.
    lastbit: str
    writer: str
    #: Of the tree that the run was started in.
    commit: str
    dirty: bool
    started: str
    verdict: str
    exitstatus: int
    files: dict[str, Entry]
    v: int = VERSION


def entries(files: Mapping[str, bytes]) -> dict[str, Entry]:
    """Hash and size of each file, by name."""
    return {name: Entry(hashlib.sha256(files[name]).hexdigest(), len(files[name])) for name in sorted(files)}


def encode(value: object) -> bytes:
    """`value` as the only JSON text that a bundle may hold for it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def manifest(files: Mapping[str, bytes]) -> Manifest:
    """The manifest among `files`; raises BundleError where it is not one that this lastbit writes."""
    content = files.get(MANIFEST, b"")
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BundleError(f"{MANIFEST}: {error}; this is no bundle, or a damaged one") from error
    if found.v != VERSION:
        raise BundleError(f"{MANIFEST}: v is {found.v}, expected {VERSION}; check it with the lastbit that packed it")
    if encode(found) != content:
        raise BundleError(f"{MANIFEST}: is not written as lastbit writes it, somebody edited it; pack the run again")
    return found


def packed(files: Mapping[str, bytes]) -> bytes:
    """The bundle of `files` by name, sealed; the same files give the same bytes wherever zlib is the same.

    Raises BundleError where a name or a size is none that `unpacked` takes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            if len(files[name]) > MOST_FILE:
                raise BundleError(f"{name}: has {len(files[name])} bytes, a bundle's files have at most {MOST_FILE}")
            archive.writestr(_info(name), files[name])
    body = buffer.getvalue()[: -_END.size]
    content = body + buffer.getvalue()[-_END.size : -2] + _COMMENT.to_bytes(2, "little") + _seal(body)
    unpacked(content, "the bundle")
    return content


def read(path: Path) -> dict[str, bytes]:
    """The files of the bundle at `path` by name; nothing is written to disk. Raises BundleError as `unpacked` does."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        if size > MOST_PACKED:
            raise BundleError(f"{path}: has {size} bytes, expected {MOST_PACKED} at most; it is not read")
        content = path.read_bytes() if size or not path.exists() else b""
    except OSError as error:
        why = f"cannot read ({error.strerror}); give a file made by lastbit report --bundle"
        raise BundleError(f"{path}: {why}") from error
    return unpacked(content, str(path))


def unpacked(content: bytes, name: str) -> dict[str, bytes]:
    """The files of a bundle's `content` by name; `name` is what errors call it.

    Raises BundleError where a byte changed since `packed` sealed it, and, before a byte is unpacked, for what is too
    large, shrinks too well, has a name that leads elsewhere, or is not packed as `packed` does it.
    """
    body, end = content[: -_END.size - _COMMENT], content[-_END.size - _COMMENT :]
    if end[_END.size :] != _seal(body):
        raise BundleError(
            f"{name}: is not sealed as a bundle is: it is none, its bytes changed, or another tool packed it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            size = archive.start_dir
            expected = _END.pack(b"PK\5\6", 0, 0, len(infos), len(infos), len(body) - size, size, _COMMENT)
            if amiss := "its end is not its own" if end[: _END.size] != expected else next(_amiss(infos), ""):
                raise BundleError(f"{name}: {amiss}; this is not packed by lastbit, and not unpacked")
            return {info.filename: archive.read(info) for info in infos}
    except _AMISS as error:
        raise BundleError(f"{name}: is a damaged zip file ({error}); get it or pack it again") from error


def _seal(body: bytes) -> bytes:
    return _SEAL + hashlib.sha256(body).hexdigest().encode()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = _ATTRIBUTES
    return info


def _amiss(infos: list[zipfile.ZipInfo]) -> Iterator[str]:
    """What is not as `packed` writes it, in words; what a file says of itself here is what is read of it later."""
    names = [info.filename for info in infos]
    if len(infos) > MOST_FILES or sum(info.file_size for info in infos) > MOST_BYTES:
        yield f"holds more than {MOST_FILES} files or {MOST_BYTES} bytes"
    if names != sorted(set(names)) or MANIFEST not in names:
        yield f"its names are twice there, not sorted, or without {MANIFEST}"
    for info in infos:
        shown = ascii(info.filename[:80])
        if len(info.filename) > _LONGEST_NAME or not _NAME.fullmatch(info.filename):
            yield f"{shown} is no name of a file in a bundle"
        if info.external_attr != _ATTRIBUTES or info.flag_bits or info.extra or info.comment or info.date_time != _DATE:
            yield f"{shown} is a link, a folder, encrypted, or says more than a file does"
        if info.compress_type != zipfile.ZIP_DEFLATED:
            yield f"{shown} is packed by method {info.compress_type}"
        if info.file_size > MOST_FILE or info.file_size > max(LARGE, MOST_RATIO * info.compress_size):
            yield f"{shown} says that it has {info.file_size} bytes, packed in {info.compress_size}"
