"""Image files of every kind become upright RGB, or a BadImage that says why not."""

import io
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.images.image_files import BadImage, Facts, decode, examine, thumbnail
from tests.support.archives import png_header

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's, on odd metadata

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


@dataclass(frozen=True)
class Limits:
    max_image_bytes: int = 2**20
    max_image_pixels: int = 1_000_000


LIMITS = Limits()


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 7, height: int = 5) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = decode(data, LIMITS)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_rgb_of_its_size(kind):
    data = encoded(noise(), kind)
    assert decode(data, LIMITS).size == (7, 5)
    assert examine(data, LIMITS).width == 7


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind):
    np.testing.assert_array_equal(decode(encoded(noise(), kind), LIMITS), noise())


def test_grey_and_one_bit_images_are_repeated_in_three_channels():
    assert pixel(encoded(Image.new("L", (2, 2), 77))) == (77, 77, 77)
    assert pixel(encoded(Image.new("1", (2, 2), 1))) == (255, 255, 255)


@pytest.mark.parametrize(("alpha", "shown"), [(255, (200, 100, 0)), (0, (255,) * 3)])
def test_transparency_is_composited_on_white(alpha, shown):
    assert pixel(encoded(Image.new("RGBA", (2, 2), (200, 100, 0, alpha)))) == shown


def test_half_transparent_pixels_are_mixed_with_white():
    shown = pixel(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert shown == (127, 127, 127)
    assert pixel(encoded(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_composited_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        data = encoded(image, kind, transparency=0)
        assert pixel(data, 0) == (255, 255, 255)
        assert pixel(data, 1) == (40, 50, 60)


def test_a_transparent_colour_of_an_rgb_png_is_composited_on_white():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    data = encoded(image, transparency=(1, 2, 3))
    assert [pixel(data, 0), pixel(data, 1)] == [(255, 255, 255), (9, 9, 9)]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_ink_is_white(kind):
    assert pixel(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), kind)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, 0), (128, 0), (129, 1), (32896, 128), (65535, 255)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_samples_are_scaled_by_their_full_range(kind, value, shown):
    image = Image.fromarray(np.full((3, 2), value, np.uint16))
    assert image.mode == "I;16"
    assert pixel(encoded(image, kind)) == (shown,) * 3


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (257, 1), (65535, 255)])
def test_32_bit_samples_are_read_as_16_bit_ones(value, shown):
    assert pixel(encoded(Image.fromarray(np.full((2, 2), value, np.int32)), "TIFF")) == (shown,) * 3


@pytest.mark.parametrize("value", [-5, 65536, 10**6])
def test_samples_beyond_16_bits_are_refused_and_not_clipped(value):
    samples = np.array([[7, value]], np.int32)
    for function in (decode, examine):
        with pytest.raises(BadImage, match=rf"{value}.*beyond 0 to 65535: scale them"):
            function(encoded(Image.fromarray(samples), "TIFF"), LIMITS)


def test_every_16_bit_sample_is_rounded_to_the_nearest_of_8_bits():
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    nearest = (samples.astype(np.uint32) * 255 + 32767) // 65535
    found = np.asarray(decode(encoded(Image.fromarray(samples)), LIMITS))
    np.testing.assert_array_equal(found, np.repeat(nearest[..., None], 3, axis=2))


def test_an_image_does_not_depend_on_its_own_range():
    """A dark 16-bit image stays dark: no stretching to the largest value found."""
    dark = Image.fromarray(np.array([[100, 500]], np.uint16))
    assert max(pixel(encoded(dark), 1)) == 2


def test_floating_point_samples_are_refused():
    with pytest.raises(BadImage, match="no fixed range: store it with 8 or 16 bits"):
        decode(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), LIMITS)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=9)
    red, _, blue = pixel(data)
    assert red > 240 and blue < 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    """The stored image is turned back by hand, by indices, as the EXIF standard defines."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255  # white in the corner of row 0, column 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored), kind, exif=exif)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored[::-1].transpose(1, 0, 2),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    found = np.asarray(decode(data, LIMITS))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 8
    assert examine(data, LIMITS) == Facts(
        f"image/{kind.lower()}", upright.shape[1], upright.shape[0]
    )


def test_damaged_exif_does_not_cost_the_image():
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03")
    assert decode(data, LIMITS).size == (7, 5)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", bytes(1000), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_told_so(data):
    with pytest.raises(BadImage, match=r"empty|not a JPEG, PNG, WEBP, BMP, GIF or TIFF|damaged"):
        decode(data, LIMITS)


def test_formats_beyond_the_six_are_refused():
    for kind in ("ICO", "PPM", "TGA", "PCX"):
        with pytest.raises(BadImage, match="not a JPEG"):
            decode(encoded(noise(16, 16), kind), LIMITS)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused_with_a_reason(kind, part):
    data = encoded(noise(64, 64), kind)
    for function in (decode, examine):
        with pytest.raises(BadImage, match=r"damaged or cut off|not a JPEG"):
            function(data[: int(part * len(data))], LIMITS)


@pytest.mark.parametrize("side", [1001, 30_000, 2**31 - 1])
def test_a_pixel_bomb_is_refused_by_its_header(side):
    with pytest.raises(BadImage, match=rf"{side} × {side} pixels, more than the 1000000 allowed"):
        decode(png_header(side, side), LIMITS)


@pytest.mark.parametrize("sides", [(101, 1), (1, 101), (2**19, 1), (1000, 9)])
def test_a_thin_image_is_refused_by_its_header_in_every_way_in(sides):
    data = png_header(*sides)
    ways = decode, examine, lambda *given: thumbnail(*given, 8)
    for function in ways:
        with pytest.raises(BadImage, match="one side more than 100 times the other"):
            function(data, LIMITS)


@pytest.mark.parametrize("size", [(100, 1), (1, 100), (1000, 10)])
def test_an_image_at_the_bound_of_thinness_decodes(size):
    assert decode(encoded(Image.new("1", size)), LIMITS).size == size


def test_more_pixels_than_pillow_warns_of_raise_no_warning():
    """The settings may allow more than Pillow's own limit; only ours counts."""
    with pytest.raises(BadImage, match="damaged or cut off"):
        decode(png_header(10_000, 10_000), Limits(max_image_pixels=10**9))


def test_a_webp_bomb_is_refused_by_its_header():
    side = (16_383 - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<L", 10) + bytes(4) + side + side
    data = b"RIFF" + struct.pack("<L", len(chunk) + 4) + b"WEBP" + chunk
    with pytest.raises(BadImage, match=r"more than|damaged|not a JPEG"):
        decode(data, LIMITS)


def test_a_file_over_the_limit_is_not_even_opened():
    with pytest.raises(BadImage, match="has 11 bytes, more than the 10 allowed"):
        decode(bytes(11), Limits(max_image_bytes=10))


@pytest.mark.parametrize("kind", FORMATS)
def test_what_examine_accepts_decodes_to_the_size_it_says(kind):
    data = encoded(noise(33, 20), kind)
    facts = examine(data, LIMITS)
    assert (facts.width, facts.height) == decode(data, LIMITS).size


def test_a_thumbnail_fits_and_is_never_enlarged():
    large = encoded(noise(640, 320), "JPEG")
    data, media_type = thumbnail(large, LIMITS, 200)
    assert media_type == "image/jpeg"
    assert Image.open(io.BytesIO(data)).size == (200, 100)
    data, media_type = thumbnail(encoded(noise(7, 5)), LIMITS, 100)
    assert media_type == "image/png"
    np.testing.assert_array_equal(Image.open(io.BytesIO(data)), noise(7, 5))


HEADS = [b"", *(encoded(noise(), kind)[:40] for kind in FORMATS)]
WHOLE = [encoded(noise(16, 12), kind) for kind in FORMATS]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_random_bytes_are_nothing_but_a_bad_image(head, tail):
    """Whatever comes, decode gives an RGB image or raises BadImage, and examine agrees."""
    try:
        image = decode(head + tail, LIMITS)
    except BadImage as error:
        assert str(error)
        with pytest.raises(BadImage):
            examine(head + tail, LIMITS)
    else:
        facts = examine(head + tail, LIMITS)
        assert (facts.width, facts.height) == image.size


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255))))
def test_flipped_bytes_are_an_image_or_a_bad_image(data, flips):
    changed = bytearray(data)
    for place, value in flips:
        changed[place % len(data)] = value
    try:
        facts = examine(bytes(changed), LIMITS)
    except BadImage:
        return
    assert decode(bytes(changed), LIMITS).size == (facts.width, facts.height)
