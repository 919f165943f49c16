"""A PNG whose data end early is refused, even where they end as a whole stream does."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.images import png_rows
from app.images.image_files import BadImage, decode, examine
from tests.support.archives import LIMITS
from tests.support.image_files import png

SIDE = 19
KINDS = [(1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (4, 3), (8, 3), (8, 4), (8, 6), (16, 6)]
PALETTE = {b"PLTE": bytes(range(256)) * 3}
every_kind = pytest.mark.parametrize(("depth", "colour"), KINDS)
in_order_or_not = pytest.mark.parametrize("interlaced", [False, True])


def rows_of(depth: int, colour: int, interlaced: bool, value: int) -> list[bytes]:
    """The rows of a picture whose bytes have all one value, by independent arithmetic."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    grid = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    steps = "0088 4088 0448 2044 0224 1022 0112" if interlaced else "0011"
    passes = [[int(digit) for digit in each] for each in steps.split()]
    parts = [grid[y::down, x::across] for x, y, across, down in passes]
    return [b"\0" + bytes([value]) * -(-part.shape[1] * bits // 8) for part in parts for _ in part]


def file_of(rows: list[bytes], depth: int, colour: int, interlaced: bool) -> bytes:
    chunks = PALETTE if colour == 3 else {}
    data = bytearray(png(SIDE, SIDE, depth, colour, b"".join(rows), chunks))
    data[28] = interlaced
    data[29:33] = struct.pack(">L", zlib.crc32(data[12:29]))
    return bytes(data)


@every_kind
@in_order_or_not
@pytest.mark.parametrize("value", [0, 0x55])
def test_whole_pictures_are_read_even_if_black(depth, colour, interlaced, value):
    rows = rows_of(depth, colour, interlaced, value)
    assert decode(file_of(rows, depth, colour, interlaced), LIMITS).size == (SIDE, SIDE)


@every_kind
@in_order_or_not
@pytest.mark.parametrize("value", [0, 0x55])
@pytest.mark.parametrize("kept", [3, -1])
def test_a_picture_without_its_last_rows_is_refused(depth, colour, interlaced, value, kept):
    data = file_of(rows_of(depth, colour, interlaced, value)[:kept], depth, colour, interlaced)
    for function in (decode, examine):
        with pytest.raises(BadImage, match=r"damaged or cut off \(it lacks rows\)"):
            function(data, LIMITS)


def test_rows_are_counted_across_chunks_and_no_further_than_they_matter():
    file = io.BytesIO()
    Image.new("L", (600, 600)).save(file, "PNG")
    whole, image = file.getvalue(), Image.open(file)
    at, packed = whole.index(b"IDAT") - 4, zlib.compress(bytes(601 * 600) + bytes(10**8))
    pieces = [packed[start : start + 7] for start in range(0, len(packed), 7)]
    chunks = [struct.pack(">L", len(piece)) + b"IDAT" + piece + bytes(4) for piece in pieces]
    image.load()
    assert not png_rows.lacks_rows(whole[:at] + b"".join(chunks), image)
    assert png_rows.lacks_rows(whole[:at] + b"".join(chunks[:9]), image)
