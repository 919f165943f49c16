"""Small image files that take long or much memory to decode."""

import io
import struct
import zlib

from PIL import Image

from tests.support.image_files import tiff


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """Return a grey progressive JPEG: a flat image, then scans that add nothing to any block."""
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])
    direct = bytes([0x00, 1, *[0] * 15, 0])  # one code: no difference to the block before
    others = bytes([0x10, 1, *[0] * 15, 0xE0])  # one code: so many blocks end here
    run = "0" + 14 * "1"  # 32,767 blocks
    bits = run * (blocks // 32_767 + 1)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, b"\0" + bytes([1] * 64)),
            _segment(0xC2, frame),
            _segment(0xC4, direct),
            _segment(0xC4, others),
            _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes((blocks + 7) // 8),
            (_segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + data) * scans,
            b"\xff\xd9",
        ]
    )


def bmp_of_runs(width: int, height: int) -> bytes:
    """Return a run-length coded BMP whose rows end after their first pixel."""
    payload = b"\1\0\0\0" * height + b"\0\1"
    palette = bytes(4 * 256)
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(payload), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(payload), 0, 0, 0, 0)
    return head + about + palette + payload


def large_png(side: int) -> bytes:
    """Return a black 1-bit PNG of a few kilobytes."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def gif_of_frames(count: int) -> bytes:
    """Return a GIF of so many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<2HBBB", 8, 8, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * count + b"\x3b"


def deflated_tiff(side: int, claimed: int) -> bytes:
    """Return a TIFF of one strip that says `side` and unpacks to `claimed` squared bytes."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(2**20)) for _ in range(claimed**2 // 2**20))
    return tiff(side, side, data + packer.flush(), {259: 8})
