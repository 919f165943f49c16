"""Uncompressed TIFFs with a plane for each kind of sample are read rightly or refused."""

import numpy as np
import pytest

from app.images.image_files import BadImage, decode
from tests.support.archives import LIMITS
from tests.support.image_files import tiff

WIDTH, HEIGHT = 3, 2


def in_both_orders(bits: int, meaning: int, count: int, tags) -> tuple[bytes, bytes]:
    """A TIFF with interleaved samples, and one with the same samples in planes."""
    samples = np.random.default_rng(0).integers(0, 2**bits, (HEIGHT, WIDTH, count))
    samples = samples.astype(f"<u{bits // 8}")
    size = samples.nbytes // count
    about = {258: (bits,) * count, 262: meaning, 277: count} | tags
    places = {273: [8 + size * plane for plane in range(count)], 279: [size] * count}
    return (
        tiff(WIDTH, HEIGHT, samples.tobytes(), about),
        tiff(WIDTH, HEIGHT, np.moveaxis(samples, 2, 0).tobytes(), about | {284: 2} | places),
    )


@pytest.mark.parametrize(
    ("meaning", "count", "tags"),
    [(1, 1, {}), (2, 3, {}), (2, 4, {338: 2}), (5, 4, {}), (3, 1, {320: range(300, 1068)})],
    ids=["grey", "RGB", "RGB with alpha", "CMYK", "palette"],
)
def test_planes_of_8_bits_are_read_as_interleaved_samples_are(meaning, count, tags):
    interleaved, planes = (decode(file, LIMITS) for file in in_both_orders(8, meaning, count, tags))
    assert interleaved.tobytes() == planes.tobytes()


@pytest.mark.parametrize(
    ("bits", "meaning", "count", "tags"),
    [
        (16, 2, 3, {}),  # Pillow takes one byte of each sample
        (16, 2, 4, {338: 2}),
        (16, 5, 4, {}),
        (8, 2, 4, {338: 1}),  # premultiplied alpha
        (8, 0, 1, {}),  # 0 is white, and Pillow would show it black
        (8, 2, 3, {266: 2}),  # the bits of a byte backwards
        (16, 1, 1, {}),  # good images, of which Pillow says "unknown raw mode"
        (8, 1, 2, {338: 2}),
        (8, 6, 3, {530: (1, 1)}),
    ],
)
def test_other_planes_are_refused_and_not_called_damaged(bits, meaning, count, tags):
    _, planes = in_both_orders(bits, meaning, count, tags)
    with pytest.raises(BadImage, match=r"in uncompressed planes .*: save it with interleaved samp"):
        decode(planes, LIMITS)


def test_samples_in_an_order_that_is_not_read_are_not_called_damaged():
    backwards = tiff(8, 2, bytes(2), {258: 1, 262: 3, 266: 2, 320: [256] * 6})
    with pytest.raises(BadImage, match=r"an order that is not read: save it again as JPEG or PNG"):
        decode(backwards, LIMITS)
