"""The rows of a PNG, counted: Pillow shows black what its data do not hold.

To count them takes unpacking them once more, so it is done only where the last row is black, or the
rows do not come in order.
"""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the kind of colour
AT_ONCE = ((0, 0, 1, 1),)  # first column and row, and steps, of each pass
INTERLACED = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
PIECE = 2**16  # bytes unpacked at a time


def lacks_rows(data: bytes, image: Image.Image) -> bool:
    """Return whether rows are missing in this file, of which Pillow has loaded the image."""
    if data[12:16] != b"IHDR":
        return False
    depth, colour, interlaced = data[24], data[25], data[28]
    width, height = image.size
    if not interlaced and any(image.crop((0, height - 1, width, height)).tobytes()):
        return False
    bits, expected = depth * SAMPLES[colour], 0
    for left, top, across, down in INTERLACED if interlaced else AT_ONCE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * bits + 7) // 8)  # with the byte of its filter
    return not _holds(data, expected)


def _holds(data: bytes, expected: int) -> bool:
    """Return whether the file's data unpack to so many bytes; hardly more are unpacked."""
    unpacker, count = zlib.decompressobj(), 0
    try:
        for piece in _compressed(data):
            made = unpacker.decompress(piece, PIECE)
            count += len(made)
            while count < expected and len(made) == PIECE:
                made = unpacker.decompress(unpacker.unconsumed_tail, PIECE)
                count += len(made)
            if count >= expected or unpacker.eof:
                break
    except zlib.error:  # behind the rows, as Pillow has read them
        return True
    return count >= expected


def _compressed(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        at, end = at + 8, min(at + 8 + length, len(data))
        if kind == b"IDAT":
            yield from (data[start : min(start + PIECE, end)] for start in range(at, end, PIECE))
        at = end + 4
