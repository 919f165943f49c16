"""The zip format, read by its central directory a piece at a time.

Follows PKWARE's APPNOTE 6.3: stored and deflated entries, ZIP64, names in UTF-8 or code page 437.
The central directory decides what is in the archive; an entry's own header only locates its data.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from app.archives.entries import Entry, Meter, damaged, truncated
from app.errors import Invalid, Unsupported

END = struct.Struct("<4s4H2LH")  # end of central directory
END64_PLACE = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
MAX_TRAILING = END.size + 0xFFFF  # the end record and the longest comment
MAX_RECORD = CENTRAL.size + 3 * 0xFFFF  # with the longest name, extra field and comment
PIECE = 2**20
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1 | 0x40 | 0x2000, 0x800
METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 99: "AES encryption"}


class Record(NamedTuple):
    """One entry of the central directory."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int  # Unix file mode; 0 where the archive comes from elsewhere
    offset: int


def entries(file: BinaryIO, length: int, meter: Meter) -> Iterator[Entry]:
    """Yield every entry of the zip file of this length, in the order of its central directory.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Invalid: `archive_encrypted`.
        Unsupported: `archive_method`.
    """
    start, size = _directory(file, length)
    for record in _records(file, start, size):
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
        yield Entry(record.name, kind, record.size, partial(_read, file, start, record, meter))


def _exactly(file: BinaryIO, offset: int, size: int, what: str) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise truncated(f"within {what}")
    return data


def _directory(file: BinaryIO, length: int) -> tuple[int, int]:
    """The offset and the size of the central directory."""
    first = max(0, length - MAX_TRAILING)
    tail = _exactly(file, first, length - first, "its end record")
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END.size > len(tail):
        raise truncated("before its list of entries, which is the last part of a zip")
    _, disk, _, _, _, size, start, _ = END.unpack_from(tail, at)
    end = first + at
    if 0xFFFF in (disk,) or 0xFFFFFFFF in (size, start):
        place = _exactly(file, max(0, end - END64_PLACE.size), END64_PLACE.size, "its end record")
        magic, disk, end, _ = END64_PLACE.unpack(place)
        if magic != b"PK\x06\x07" or end > length:
            raise damaged("its ZIP64 end record is missing")
        magic, *_, size, start = END64.unpack(_exactly(file, end, END64.size, "its end record"))
        if magic != b"PK\x06\x06":
            raise damaged("its ZIP64 end record is missing")
    if disk:
        raise Unsupported(
            "archive_method", "the zip is one part of several: join the parts into one file"
        )
    if start + size > end:
        raise truncated("before its list of entries is complete")
    return start, size


def _records(file: BinaryIO, start: int, size: int) -> Iterator[Record]:
    buffer, at, end = b"", 0, start + size
    while start < end or at < len(buffer):
        if len(buffer) - at < MAX_RECORD and start < end:
            piece = _exactly(file, start, min(PIECE, end - start), "its list of entries")
            buffer, at, start = buffer[at:] + piece, 0, start + len(piece)
        record, length = _record(buffer, at)
        at += length
        yield record


def _record(buffer: bytes, at: int) -> tuple[Record, int]:
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
    name = _text(buffer[name_start:name_end], flags)
    extra = buffer[name_end : name_end + extra_length]
    size, packed, offset = _zip64(extra, size, packed, offset, name)
    record = Record(name, flags, method, crc, packed, size, attributes >> 16, offset)
    return record, end - at


def _zip64(extra: bytes, size: int, packed: int, offset: int, name: str) -> tuple[int, int, int]:
    """Return the three numbers, reading from the ZIP64 field those over 32 bits."""
    numbers = [size, packed, offset]
    wide = [place for place, number in enumerate(numbers) if number == 0xFFFFFFFF]
    while wide and len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1 and min(length, len(extra) - 4) >= 8 * len(wide):
            for place, number in zip(
                wide, struct.unpack_from(f"<{len(wide)}Q", extra, 4), strict=True
            ):
                numbers[place] = number
            wide = []
        extra = extra[4 + length :]
    if wide:
        raise damaged(f"the ZIP64 numbers of {name!r} are missing")
    return numbers[0], numbers[1], numbers[2]


def _text(raw: bytes, flags: int) -> str:
    """Decode a name: Macs and Linux write UTF-8 without its flag, DOS writes code page 437."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if flags & UTF8:
            raise damaged(f"the name {raw!r} is not in UTF-8") from None
        return raw.decode("cp437")


def _kind(record: Record) -> str:
    kind = stat.S_IFMT(record.mode)
    if kind == stat.S_IFLNK:
        return "symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device or pipe"
    return "folder" if kind == stat.S_IFDIR or record.name.endswith(("/", "\\")) else "file"


def _read(file: BinaryIO, end: int, record: Record, meter: Meter) -> bytes:
    """Return the entry's bytes; their number and checksum are those in the directory."""
    name = repr(record.name)
    header = LOCAL.unpack(_exactly(file, record.offset, LOCAL.size, name))
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
