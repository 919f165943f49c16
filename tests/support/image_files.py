"""TIFF and PNG files, built tag by tag and chunk by chunk, of kinds that no encoder writes."""

import struct
import zlib
from collections.abc import Mapping, Sequence

SHORT, LONG = 3, 4
WIDTH, HEIGHT, BITS, MEANING, OFFSET, SAMPLES, ROWS, SIZE = 256, 257, 258, 262, 273, 277, 278, 279


def tiff(
    width: int, height: int, data: bytes, tags: Mapping[int, int | Sequence[int] | None]
) -> bytes:
    """Return an uncompressed little-endian TIFF; None as a tag's value leaves the tag out."""
    every = {WIDTH: width, HEIGHT: height, BITS: 8, 259: 1, MEANING: 1, SAMPLES: 1, ROWS: height}
    every |= {OFFSET: 8, SIZE: len(data)} | tags
    start = 8 + len(data) + len(data) % 2
    entries, more = b"", b""
    kept = {tag: value for tag, value in sorted(every.items()) if value is not None}
    after = start + 2 + 12 * len(kept) + 4
    for tag, value in kept.items():
        kind = LONG if tag in (OFFSET, SIZE, 330) else SHORT
        values = [value] if isinstance(value, int) else list(value)
        packed = struct.pack(f"<{len(values)}{'L' if kind == LONG else 'H'}", *values)
        if len(packed) > 4:
            packed, more = struct.pack("<L", after + len(more)), more + packed
        entries += struct.pack("<HHL", tag, kind, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(kept)) + entries + bytes(4) + more
    return b"II*\0" + struct.pack("<L", start) + data.ljust(start - 8, b"\0") + directory


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, chunks: Mapping[bytes, bytes]
) -> bytes:
    """Return a PNG of these rows, each with its filter byte; `chunks` come before the pixels."""
    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    every = [(b"IHDR", header), *chunks.items(), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in every
    )
