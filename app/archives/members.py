"""Uploaded archives (zip, tar, tar.gz, tar.zst) read as a stream of files, with bounded memory.

    for member in members(file, limits):
        member.path, member.size, member.read()

No file is ever written to a path from an archive. An archive is refused as a whole if it is damaged
or cut off, or if an entry is hostile (a path that leaves the archive's folder, a link, a device, a
bomb, encryption, the same path twice); the problem names the entry. zips and tars parse the formats
themselves, as the standard library keeps an object for every entry (60 MB for 100,000) and reads a
header into memory whatever size it claims.
"""

import gzip
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from app.archives import tars, zips
from app.archives.entries import MAX_ZSTD_WINDOW, Entry, Limits, Meter, Unpacked
from app.errors import Invalid, TooLarge, Unsupported

MAX_PATH = 1024  # characters
DRIVE = re.compile(r"[A-Za-z]:")
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an archive without entries
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive; `read` works until the iterator moves to the next member."""

    path: str
    size: int  # as announced; `read` returns exactly this many bytes or raises
    read: Callable[[], bytes]


def members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    """Yield every file of the archive in order, without the files that operating systems add.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Unsupported: `not_an_archive`, `archive_method`.
        TooLarge: `archive_too_large`, `archive_bomb`, `too_many_entries`, `header_too_large`,
            `zstd_window_too_large`.
        Invalid: `unsafe_path`, `path_too_long`, `duplicate_path`, `archive_link`, `archive_device`,
            `archive_encrypted`.
    """
    max_entries = 2 * limits.max_dataset_images + 1000  # leaves room for folders and other files
    seen: set[str] = set()
    for number, entry in enumerate(_entries(file, limits), 1):
        if number > max_entries:
            raise TooLarge(
                "too_many_entries",
                f"the archive has more than {max_entries} entries: "
                f"a dataset holds at most {limits.max_dataset_images} images",
            )
        path = safe_path(entry.name)
        _refuse_special(entry)
        if entry.kind == "folder" or not path or is_system_file(path):
            continue
        if path in seen:
            raise Invalid(
                "duplicate_path", f"the archive holds {path!r} more than once: keep one of them"
            )
        seen.add(path)
        yield Member(path, entry.size, entry.read)


def safe_path(name: str) -> str:
    """Return the path with `/` between its parts, in Unicode's composed form; empty for the root.

    Raises:
        Invalid: `unsafe_path` or `path_too_long`.
    """
    if len(name) > MAX_PATH:
        raise Invalid(
            "path_too_long", f"the path {name[:80]!r}… is longer than {MAX_PATH} characters"
        )
    path = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or DRIVE.match(path) or ".." in parts or "\0" in path:
        raise Invalid(
            "unsafe_path",
            f"the path {name!r} leaves the archive's own folder: pack with relative paths only",
        )
    return "/".join(parts)


def is_system_file(path: str) -> bool:
    """Return whether an operating system adds such a file: hidden, or of macOS or Windows."""
    parts = path.split("/")
    if "__MACOSX" in parts or any(part.startswith(".") for part in parts):
        return True
    return parts[-1].lower() in ("thumbs.db", "desktop.ini")


def archive_format(head: bytes) -> str | None:
    """Return the archive format that the first 512 bytes of a file show, if any."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    return "tar" if tars.is_header(head) else None


def _refuse_special(entry: Entry) -> None:
    if entry.kind in ("file", "folder"):
        return
    code = "archive_link" if "link" in entry.kind else "archive_device"
    raise Invalid(
        code,
        f"{entry.name!r} is a {entry.kind}: pack plain files and folders only "
        "(tar --dereference --hard-dereference stores files in place of links)",
    )


def _entries(file: BinaryIO, limits: Limits) -> Iterator[Entry]:
    packed = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    meter, kind = Meter(limits, packed), archive_format(head)
    if kind == "zip":
        return zips.entries(file, packed, meter)
    if kind == "tar":
        return tars.entries(Unpacked(file, meter))
    if kind == "gzip":
        return tars.entries(Unpacked(gzip.GzipFile(fileobj=file, mode="rb"), meter), inside=kind)
    if kind == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        stream = decompressor.stream_reader(file, read_across_frames=True, closefd=False)
        return tars.entries(Unpacked(stream, meter), inside=kind)
    looks = f"looks like {kind}, which is not supported" if kind else "is not an archive"
    raise Unsupported(
        "not_an_archive", f"the file {looks}: upload a zip, tar, tar.gz or tar.zst of the images"
    )
