"""Uploaded archives (zip, tar, tar.gz, tar.zst) read as a stream of files, with bounded memory.

    for member in members(file, limits):
        member.path, member.size, member.read()

No file is ever written to a path from an archive. An archive is refused as a whole if it is damaged
or cut off, or if an entry is hostile (a path that leaves the archive's folder, a symbolic link, a
device, a bomb, encryption, the same path twice); the problem names the entry. zips and tars parse
the formats themselves, as the standard library keeps an object for every entry (60 MB for 100,000)
and reads a header into memory whatever size it claims.
"""

import gzip
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard

from app.archives import tars, zip_directory, zips
from app.archives.entries import MAX_ZSTD_WINDOW, Entry, Limits, Meter, Packed, Unpacked
from app.archives.names import Names
from app.errors import Invalid, TooLarge, Unsupported
from app.images import file_kinds
from tangent_composer.folders import refusal
from tangent_composer.system_files import RESOURCE_MAGIC, is_system_file, may_be_resources

MAX_PATH = 1024  # characters
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive; `read` works until the iterator moves to the next member."""

    path: str
    size: int  # as announced; `read` returns exactly this many bytes or raises
    read: Callable[[], bytes]
    fault: str | None = None  # why the file cannot be used; its path is then for people's eyes only
    is_system_file: bool = False  # added by an operating system or a tool
    target: str | None = None  # of a hard link: the path whose file this one is too


def members(file: BinaryIO, limits: Limits, code_page: str | None = None) -> Iterator[Member]:
    """Yield every file of the archive, in order.

    Names that are not marked as UTF-8 are in the code page, if one is given.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Unsupported: `not_an_archive`, `archive_method`.
        TooLarge: `archive_too_large`, `archive_bomb`, `too_many_entries`, `header_too_large`,
            `zstd_window_too_large`.
        Invalid: `unsafe_path`, `path_too_long`, `duplicate_path`, `archive_link`, `archive_device`,
            `archive_encrypted`, `unreadable_names`.
    """
    yield from members_of(_entries(file, limits, code_page), limits)


def members_of(entries: Iterable[Entry], limits: Limits) -> Iterator[Member]:
    """Yield the files among the entries of an archive or a folder; raises as `members`."""
    max_entries = limits.max_archive_entries
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        if number > max_entries:
            raise TooLarge(
                "too_many_entries",
                f"the archive has more than {max_entries} entries, files and folders together: "
                "split it into several datasets",
            )
        _refuse_special(entry)
        member = _member(entry, limits)
        if member is None:
            continue
        if not (member.fault or member.is_system_file):
            if member.path in seen:
                raise _twice(member.path, entry.name)
            seen.add(member.path)
        yield member


def _twice(path: str, name: str) -> Invalid:
    composed = unicodedata.is_normalized("NFC", name)
    how = (
        "more than once"
        if composed
        else "in two spellings that look the same (Unicode NFC and NFD)"
    )
    return Invalid("duplicate_path", f"the archive holds {path!r} {how}: keep one of them")


def _member(entry: Entry, limits: Limits) -> Member | None:
    """Return the entry as a member; None for a folder, which holds nothing itself."""
    if entry.fault is not None:
        if entry.kind == "folder":
            return None
        return Member(entry.name[:MAX_PATH], entry.size, entry.read, entry.fault)
    path = safe_path(entry.name)
    if entry.kind == "folder" or not path:
        if not entry.size:
            return None
        fault = f"it has the name of a folder, but holds {entry.size} bytes: rename it"
        return Member(entry.name, entry.size, entry.read, fault)
    if is_system_file(path):
        return Member(path, entry.size, entry.read, is_system_file=True)
    if entry.target is not None:
        return Member(path, 0, entry.read, target=safe_path(entry.target))
    if may_be_resources(path) and entry.size <= limits.max_image_bytes:
        data = entry.read()
        resources = data.startswith(RESOURCE_MAGIC)
        return Member(path, entry.size, lambda: data, is_system_file=resources)
    return Member(path, entry.size, entry.read)


def safe_path(name: str) -> str:
    """Return the path with `/` between its parts, in Unicode's composed form; empty for the root.

    Raises:
        Invalid: `unsafe_path` or `path_too_long`.
    """
    if len(name) > MAX_PATH:
        raise Invalid(
            "path_too_long",
            f"the path {name[:80]!r}… is longer than {MAX_PATH} characters: "
            "shorten the names of its folders",
        )
    path = unicodedata.normalize("NFC", name)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    either = path.replace("\\", "/")  # on one of the systems
    if either.startswith("/") or DRIVE.match(path) or ".." in either.split("/") or "\0" in path:
        raise Invalid(
            "unsafe_path",
            f"the path {name!r} may leave the archive's own folder, as it begins at a root or has "
            ".. in it: pack with relative paths only",
        )
    return "/".join(parts)


def archive_format(head: bytes) -> str | None:
    """Return the archive format that the first 512 bytes of a file show, if any."""
    return file_kinds.archive(head) or ("tar" if tars.is_header(head) else None)


def _refuse_special(entry: Entry) -> None:
    if refused := refusal(entry.name, entry.kind):
        code, sentence, remedy = refused
        raise Invalid(code, f"{sentence}: {remedy}")


def _entries(file: BinaryIO, limits: Limits, code_page: str | None) -> Iterator[Entry]:
    packed = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    meter, names, kind = Meter(limits, packed), Names(code_page), archive_format(head)
    if kind == "zip" or (kind is None and zip_directory.has_end(file, packed)):
        return zips.entries(file, packed, meter, names)
    if kind == "tar":
        return tars.entries(Unpacked(file, meter), names)
    compressed = cast("BinaryIO", Packed(file, meter))  # of which only `read` is used
    if kind == "gzip":
        unzipped = Unpacked(gzip.GzipFile(fileobj=compressed, mode="rb"), meter)
        return tars.entries(unzipped, names, inside=kind)
    if kind == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        stream = decompressor.stream_reader(compressed, read_across_frames=True, closefd=False)
        return tars.entries(Unpacked(stream, meter), names, inside=kind)
    raise Unsupported(
        "not_an_archive",
        f"the file {_looks(head, kind)}: upload a zip, tar, tar.gz or tar.zst of the images",
    )


def _looks(head: bytes, kind: str | None) -> str:
    """Return the end of a sentence that says what a file is that is no archive."""
    if kind:
        return f"looks like {kind}, which is not supported"
    if not head:
        return "is empty"
    image = file_kinds.other_image(head) or file_kinds.image(head)
    other = None if image else file_kinds.no_image(head)
    if image or other:
        return f"is a single image ({image})" if image else f"is {other}"
    return "is not an archive"
