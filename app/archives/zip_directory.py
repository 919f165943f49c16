"""The place of a zip's central directory, found from the end record in the file's tail.

Something may be in front of a zip (a program that unpacks it, a script), but not another zip: every
offset of the zip then counts from its own beginning.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from app.archives.entries import PIECE, damaged, truncated
from app.errors import Malformed, Unsupported

END = struct.Struct("<4s4H2LH")  # end of central directory
END64_PLACE = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
MAX_TRAILING = END.size + 0xFFFF  # the end record and the longest comment
MAX_ENDS = 100  # places that look like an end of a zip, of which all but one are none


class Directory(NamedTuple):
    """The place of the central directory in the file."""

    start: int
    size: int
    entries: int  # their number, as the end record has it, perhaps less a multiple of 65536
    front: int  # bytes in front of the zip, which its offsets do not count; missing ones, below 0


def has_end(file: BinaryIO, length: int) -> bool:
    """Return whether the file ends as a zip does, however it begins."""
    return next(_ends(file, length), None) is not None


def exactly(file: BinaryIO, offset: int, size: int, what: str) -> bytes:
    """Return so many bytes of the file.

    Raises:
        Malformed: `archive_truncated`.
    """
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise truncated(f"within {what}")
    return data


def _ends(file: BinaryIO, length: int) -> Iterator[Directory]:
    """Yield the directories of the end records in the file's tail that point at one."""
    first = max(0, length - MAX_TRAILING)
    tail = exactly(file, first, length - first, "its end record")
    at = len(tail)
    for _ in range(MAX_ENDS):
        at = tail.rfind(b"PK\x05\x06", 0, at)
        if at < 0:
            return
        if at + END.size <= len(tail):
            directory = _directory_of(file, tail, at, first + at)
            if directory is not None:
                yield directory


def find(file: BinaryIO, length: int) -> Directory:
    """Return the directory of the zip with which the file ends.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`, `archive_joined`.
        Unsupported: `archive_method`, for one part of several.
    """
    directory = next(_ends(file, length), None)
    if directory is None:
        raise truncated("before its list of entries, which is the last part of a zip, is complete")
    if directory.front < 0:
        raise Malformed(
            "archive_truncated",
            f"the zip lacks its first {-directory.front} bytes: upload the complete file, and join "
            "the parts if there are several",
        )
    if directory.front and _holds_a_zip(file, directory.front):
        raise Malformed(
            "archive_joined",
            "the file is two zips, one behind the other, of which only the last would be read: "
            "upload each of them, or unpack both and pack their files together",
        )
    return directory


def _directory_of(file: BinaryIO, tail: bytes, at: int, end: int) -> Directory | None:
    """Return the directory of the end record at this place, if there is one in front of it."""
    _, disk, _, _, count, size, start, _ = END.unpack_from(tail, at)
    if 0xFFFF in (disk, count) or 0xFFFFFFFF in (size, start):
        disk, count, size, start, end = _end64(file, end) or (disk, count, size, start, end)
    if disk not in (0, 0xFFFF):
        raise Unsupported(
            "archive_method", "the zip is one part of several: join the parts into one file"
        )
    if not count and not size:
        return Directory(end, 0, 0, max(0, end - start))
    for place in (end - size, start):
        file.seek(max(0, place))
        if place >= 0 and place + size <= end and file.read(4) == b"PK\x01\x02":
            return Directory(place, size, count, place - start)
    return None


def _end64(file: BinaryIO, end: int) -> tuple[int, int, int, int, int] | None:
    """Return disk, count, size and start of the ZIP64 end record, and its place; None without."""
    locator_at = end - END64_PLACE.size
    if locator_at < 0:
        return None
    file.seek(locator_at)
    magic, _, place, _ = END64_PLACE.unpack(file.read(END64_PLACE.size))
    if magic != b"PK\x06\x07":
        return None
    for at in (place, locator_at - END64.size):  # the second where something is in front
        if 0 <= at <= locator_at - END64.size:
            file.seek(at)
            magic, *_, disk, _, _, count, size, start = END64.unpack(file.read(END64.size))
            if magic == b"PK\x06\x06":
                return disk, count, size, start, at
    raise damaged("its ZIP64 end record is missing")


def _holds_a_zip(file: BinaryIO, length: int) -> bool:
    """Return whether a zip, whole or cut off, is in the first bytes of the file."""
    file.seek(0)
    if file.read(4) == b"PK\x03\x04":
        return True
    ends, at, piece = 0, 0, b""
    while at < length and ends < MAX_ENDS:
        file.seek(at)
        piece = file.read(min(PIECE, length - at))
        found = piece.find(b"PK\x05\x06")
        while 0 <= found <= len(piece) - END.size and ends < MAX_ENDS:
            ends += 1
            directory = _directory_of(file, piece, found, at + found)
            if directory is not None and directory.entries:
                return True
            found = piece.find(b"PK\x05\x06", found + 4)
        at += max(1, len(piece) - END.size)
    return ends == MAX_ENDS
