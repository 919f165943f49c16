"""The zip format, read by its central directory a piece at a time.

Follows PKWARE's APPNOTE 6.3: stored and deflated entries, ZIP64, names in UTF-8. It deviates where
the archives of this world do: a name without the flag for UTF-8 may be in any code page, not only
in 437, so it is read from Info-ZIP's Unicode Path field, or as `names` says.
The central directory decides what is in the archive; an entry's own header only locates its data.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from app.archives.entries import PIECE, Entry, Meter, damaged, truncated
from app.archives.names import Names
from app.archives.zip_directory import Directory, exactly, find
from app.errors import Invalid, Unsupported

CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
MAX_RECORD = CENTRAL.size + 3 * 0xFFFF  # with the longest name, extra field and comment
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1 | 0x40 | 0x2000, 0x800
UNICODE_PATH = 0x7075
UNIX, MAC = 3, 19  # hosts on which a backslash is a character like others
METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 99: "AES encryption"}


class Record(NamedTuple):
    """One entry of the central directory."""

    name: str
    fault: str | None  # why the name cannot be read
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int  # Unix file mode; 0 where the archive comes from elsewhere
    offset: int


def entries(file: BinaryIO, length: int, meter: Meter, names: Names) -> Iterator[Entry]:
    """Yield every entry of the zip file of this length, in the order of its central directory.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Invalid: `archive_encrypted`, `unreadable_names`.
        Unsupported: `archive_method`.
    """
    directory = find(file, length)
    count = 0
    for record in _records(file, directory, names):
        count += 1
        if record.flags & ENCRYPTED or record.method == 99:
            raise Invalid(
                "archive_encrypted", f"{record.name!r} is encrypted: pack without a password"
            )
        kind = _kind(record)
        if kind == "file" and record.method not in (STORED, DEFLATED):
            raise Unsupported(
                "archive_method",
                f"{record.name!r} is compressed by {METHODS.get(record.method, record.method)}: "
                "pack with deflate, zip's usual method, or without compression",
            )
        read = partial(_read, file, directory.start, record, meter)
        yield Entry(record.name, kind, record.size, read, record.fault)
    if (count - directory.entries) % 2**16:
        raise damaged(f"its list has {count} entries, its end record says {directory.entries}")


def _records(file: BinaryIO, directory: Directory, names: Names) -> Iterator[Record]:
    buffer, at, start, end = b"", 0, directory.start, directory.start + directory.size
    while start < end or at < len(buffer):
        if len(buffer) - at < MAX_RECORD and start < end:
            piece = exactly(file, start, min(PIECE, end - start), "its list of entries")
            buffer, at, start = buffer[at:] + piece, 0, start + len(piece)
        record, length = _record(buffer, at, directory.front, names)
        at += length
        yield record


def _record(buffer: bytes, at: int, front: int, names: Names) -> tuple[Record, int]:
    """The record that begins at this place of the buffer, and its length."""
    if len(buffer) - at < CENTRAL.size or not buffer.startswith(b"PK\x01\x02", at):
        raise damaged("its list of entries is malformed")
    fields = CENTRAL.unpack_from(buffer, at)
    flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
    name_length, extra_length, comment_length = fields[10:13]
    attributes, offset = fields[15], fields[16]
    name_start = at + CENTRAL.size
    name_end = name_start + name_length
    end = name_end + extra_length + comment_length
    if end > len(buffer):
        raise damaged("its list of entries is malformed")
    raw, extra = buffer[name_start:name_end], buffer[name_end : name_end + extra_length]
    name, fault = _name(raw, flags, extra, names)
    if fault is None:
        name = _with_slashes(name, host=fields[1] >> 8)
    size, packed, offset = _zip64(extra, size, packed, offset, name)
    mode = attributes >> 16
    record = Record(name, fault, flags, method, crc, packed, size, mode, front + offset)
    return record, end - at


def _name(raw: bytes, flags: int, extra: bytes, names: Names) -> tuple[str, str | None]:
    """Return the entry's name and, if it cannot be read for certain, the reason."""
    field = next((data for kind, data in _fields(extra) if kind == UNICODE_PATH), b"")
    if field[:1] == b"\x01" and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
        return names.marked(field[5:]), None  # else the entry was renamed by a tool without it
    return (names.marked(raw), None) if flags & UTF8 else names.unmarked(raw)


def _with_slashes(name: str, *, host: int) -> str:
    """Return the name with `/` between its parts, where Windows tools write a backslash."""
    literal = host in (UNIX, MAC) and "/" in name
    return name if literal else name.replace("\\", "/")


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4 + length
        if at > len(extra):
            return
        yield kind, extra[at - length : at]


def _zip64(extra: bytes, size: int, packed: int, offset: int, name: str) -> tuple[int, int, int]:
    """Return the three numbers, reading from the ZIP64 field those over 32 bits."""
    numbers = [size, packed, offset]
    wide = [place for place, number in enumerate(numbers) if number == 0xFFFFFFFF]
    for kind, data in _fields(extra):
        if wide and kind == 1 and len(data) >= 8 * len(wide):
            found = struct.unpack_from(f"<{len(wide)}Q", data)
            for place, number in zip(wide, found, strict=True):
                numbers[place] = number
            wide = []
    if wide:
        raise damaged(f"the ZIP64 numbers of {name!r} are missing")
    return numbers[0], numbers[1], numbers[2]


def _kind(record: Record) -> str:
    kind = stat.S_IFMT(record.mode)
    if kind == stat.S_IFLNK:
        return "symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device or pipe"
    return "folder" if kind == stat.S_IFDIR or record.name.endswith("/") else "file"


def _read(file: BinaryIO, end: int, record: Record, meter: Meter) -> bytes:
    """Return the entry's bytes; their number and checksum are those in the directory."""
    name = repr(record.name)
    header = LOCAL.unpack(exactly(file, record.offset, LOCAL.size, name))
    if header[0] != b"PK\x03\x04":
        raise damaged(f"{name} is not at the place that the list of entries gives")
    start = record.offset + LOCAL.size + header[9] + header[10]
    if start + record.packed > end:
        raise damaged(f"{name} extends into the list of entries")
    file.seek(start)
    if record.method == STORED:
        if record.packed != record.size:
            raise damaged(f"{name} is stored with two different sizes")
        data = file.read(record.size)
    else:
        data = _inflate(file, record, name)
    meter.add(len(data))
    meter.take(record.packed)
    if len(data) != record.size or zlib.crc32(data) != record.crc:
        raise damaged(f"{name} does not match its size and checksum in the list of entries")
    return data


def _inflate(file: BinaryIO, record: Record, name: str) -> bytes:
    """Inflate the entry, stopping one byte after the announced size."""
    inflater, left = zlib.decompressobj(-zlib.MAX_WBITS), record.packed
    enough = record.size + 1
    pieces, made = [], 0
    try:
        while left and not inflater.eof and made < enough:
            piece = file.read(min(left, PIECE))
            if not piece:
                raise truncated(f"within {name}")
            left -= len(piece)
            pieces.append(inflater.decompress(inflater.unconsumed_tail + piece, enough - made))
            made += len(pieces[-1])
    except zlib.error as error:
        raise damaged(f"{name} cannot be unpacked ({error})") from error
    return b"".join(pieces)
