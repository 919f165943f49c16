"""Samples mean what the file's own tags say, or the file is refused; none is read as another."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.images.image_files import BadImage, decode, examine
from tests.support.archives import LIMITS
from tests.support.image_files import png, tiff

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def shown(data: bytes) -> list[tuple[int, ...]]:
    """Return the pixels of the first row."""
    image = decode(data, LIMITS)
    assert image.mode == "RGB"
    return [image.getpixel((x, 0)) for x in range(image.width)]


def refused(data: bytes, why: str) -> None:
    for function in (decode, examine):
        with pytest.raises(BadImage, match=why):
            function(data, LIMITS)


def grey(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "expected"),
    [
        (1, b"\x40", 0, grey(255, 255)),  # 0 is shown on white, 1 is white
        (1, b"\x40", 1, grey(0, 255)),
        (2, b"\x60", 1, grey(255, 170)),  # samples 1, 2 of 0…3
        (4, b"\x3c", 3, grey(255, 204)),  # samples 3, 12 of 0…15
        (8, b"\x03\x55", 3, grey(255, 85)),
        (16, b"\x01\x00\x01\x01", 0x0100, grey(255, 1)),
    ],
)
def test_the_transparent_grey_of_a_png_is_found_at_every_depth(depth, row, transparent, expected):
    data = png(2, 1, depth, 0, b"\0" + row, {b"tRNS": struct.pack(">H", transparent)})
    assert shown(data) == expected


def test_a_transparent_colour_of_16_bits_is_refused_as_8_bits_cannot_tell_it():
    rows = b"\0" + struct.pack(">6H", 1, 2, 3, 65535, 65535, 65535)
    data = png(2, 1, 16, 2, rows, {b"tRNS": struct.pack(">3H", 1, 2, 3)})
    refused(data, "16 bits per sample in RGB and a transparent colour: save it with an alpha")


@pytest.mark.parametrize(("bits", "samples"), [(8, "2B"), (16, "2H")])
def test_a_tiff_whose_zero_is_white_is_turned_round(bits, samples):
    largest = 2**bits - 1
    data = struct.pack(f"<{samples}", 0, largest)
    assert shown(tiff(2, 1, data, {258: bits, 262: 0})) == [WHITE, BLACK]
    assert shown(tiff(2, 1, data, {258: bits, 262: 1})) == [BLACK, WHITE]


def test_12_bits_are_scaled_by_their_own_range():
    data = tiff(2, 1, bytes([0x80, 0x0F, 0xFF]), {258: 12})  # 0x800, 0xFFF
    assert shown(data) == grey(128, 255)


def test_a_tiff_that_does_not_say_what_zero_means_is_refused():
    refused(tiff(2, 1, b"\0\xff", {262: None}), "do not say whether 0 is black or white")


def test_signed_samples_of_8_bits_are_refused():
    refused(tiff(2, 1, b"\0\xff", {339: 2}), "its samples are signed")


def test_inks_other_than_cmyk_are_refused():
    tags = {258: (8, 8, 8, 8), 262: 5, 277: 4}
    assert shown(tiff(1, 1, bytes(4), tags)) == [WHITE]
    refused(tiff(1, 1, bytes(4), tags | {332: 2}), "inks other than CMYK")


def test_uncompressed_ycbcr_is_read_if_every_pixel_has_its_own_colour():
    tags = {258: (8, 8, 8), 262: 6, 277: 3}
    (found,) = shown(tiff(1, 1, bytes([76, 85, 255]), tags | {530: (1, 1)}))
    assert found[0] > 250 and found[1] < 5 and found[2] < 5  # red
    for subsampling in ({}, {530: (2, 2)}):
        refused(tiff(2, 2, bytes(12), tags | subsampling), "fewer samples of colour")


def test_lab_is_refused():
    refused(tiff(1, 1, bytes(3), {258: (8, 8, 8), 262: 8, 277: 3}), "'LAB'.*no fixed range")


def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_the_image():
    tags = {258: (8, 8, 8), 262: 2, 277: 3}
    assert shown(tiff(1, 1, b"\1\2\3", tags)) == [(1, 2, 3)]
    refused(tiff(1, 1, b"\1\2\3", tags | {254: 1, 330: 8}), "camera's raw file")


def jpeg_of_inks() -> bytes:
    file = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def test_a_jpeg_of_four_inks_is_turned_round_by_its_adobe_marker_or_refused_without():
    data = jpeg_of_inks()
    assert b"Adobe" in data and shown(data)[0] == WHITE
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack(">H", data[start + 2 : start + 4])
    refused(data[:start] + data[start + 2 + length :], "no Adobe marker.*save it in RGB")


def test_a_frame_smaller_than_its_gif_leaves_the_rest_white():
    """The logical screen is 3 × 1, the frame covers its first pixel."""
    table = bytes([10, 20, 30, 200, 100, 50])
    control = b"\x21\xf9\x04\x01\0\0\x01\0"  # colour 1 is transparent
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    data = b"GIF89a" + struct.pack("<2HBBB", 3, 1, 0x80, 0, 0) + table + control + frame + b"\x3b"
    assert shown(data) == [(10, 20, 30), WHITE, WHITE]


@pytest.mark.parametrize("chunk", [b"iCCP", b"zTXt"])
def test_a_large_profile_or_text_does_not_cost_the_image(chunk):
    packed = zlib.compress(bytes(3 * 2**20))
    data = png(1, 1, 8, 2, b"\0\1\2\3", {chunk: b"name\0\0" + packed})
    assert shown(data) == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("HEIC", b"\0\0\0\x18ftypheic"),
        ("HEIC", b"\0\0\0\x18ftypmif1"),
        ("AVIF", b"\0\0\0\x1cftypavif"),
        ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
        ("a Photoshop file", b"8BPS\0\1"),
        ("a camera's raw file", b"FUJIFILMCCD-RAW "),
        ("a camera's raw file", b"II*\0\x10\0\0\0CR\2\0"),
        ("an icon", b"\0\0\1\0"),
        ("a Netpbm image", b"P5\n2 2\n"),
        ("OpenEXR", b"\x76\x2f\x31\x01"),
        ("PDF", b"%PDF-1.7"),
        ("SVG", b"<svg xmlns"),
        ("SVG", b"<?xml version='1.0'?>\n<svg xmlns>\n" + b" " * 500),
        ("DICOM", bytes(128) + b"DICM"),
    ],
)
def test_a_format_that_is_not_read_is_named(name, head):
    refused(head + bytes(200), f"this is {name}, not a JPEG.*save it as JPEG or PNG")


def test_an_image_without_its_palette_is_refused():
    refused(png(2, 1, 8, 3, b"\0\0\1", {}), "but no palette that tells them")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a text", b"shopping list\n"),
        ("JSON", b'{"a": 1}'),
        ("a web page, perhaps a log-in", b"<!DOCTYPE html><html>"),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\n"),
        ("a video", b"\0\0\0\x20ftypisom" + bytes(50)),
        ("a NumPy array", b"\x93NUMPY\1\0" + bytes(50)),
        ("a run of zero bytes", bytes(300)),
    ],
)
def test_what_is_no_image_at_all_is_named(name, data):
    refused(data, f"^this is {name}.*, not a JPEG[^:]*$")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_of_every_mode_is_composited_on_white(mode):
    image = Image.new("RGBA", (2, 1), (9, 9, 9, 0))
    image.putpixel((1, 0), (9, 9, 9, 255))
    file = io.BytesIO()
    kind = "PNG" if mode != "PA" else "TIFF"
    made = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    if mode == "PA":
        made.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    made.save(file, kind)
    assert shown(file.getvalue()) == [WHITE, (9, 9, 9)]


def test_a_tiff_of_a_kind_that_is_not_read_is_called_one():
    refused(tiff(1, 1, bytes(6), {258: (16, 16, 16), 262: 6, 277: 3}), "or is a TIFF of a kind")


def test_a_jpeg_of_12_bits_is_not_called_another_format():
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    data[data.index(b"\xff\xc0") + 4] = 12
    refused(bytes(data), "or is a JPEG of a kind that is not read: save it again")


def test_a_tiff_palette_of_8_bits_is_refused_where_16_are_meant():
    table = [0] * 768
    table[1] = table[257] = table[513] = 257 * 100
    assert shown(tiff(2, 1, b"\0\1", {262: 3, 320: table})) == grey(0, 100)
    table[1] = table[257] = table[513] = 100
    refused(tiff(2, 1, b"\0\1", {262: 3, 320: table}), "8 bits where a TIFF has 16")


def bmp(*alphas: int) -> bytes:
    """Return a BMP of one row of 32 bits a pixel, with a mask for alpha."""
    pixels = b"".join(bytes([30, 20, 10, alpha]) for alpha in alphas)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    about = struct.pack("<IiiHHIIiiII", 108, len(alphas), 1, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    head = struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108)
    return b"BM" + head + about + masks + bytes(52) + pixels


def test_a_bmp_whose_alpha_was_left_empty_is_not_taken_for_transparent():
    assert shown(bmp(0, 0)) == [(10, 20, 30)] * 2
    assert shown(bmp(0, 255)) == [WHITE, (10, 20, 30)]
