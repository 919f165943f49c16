"""The perceptual hash: near for one picture in other forms, far for another picture."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from app.api.images import NEAR
from app.images.image_files import examine
from app.images.perceptual_hash import BITS, DIGITS, distance, perceptual_hash
from tests.support.archives import Limits

PHOTOS = [Image.fromarray(each) for each in load_sample_images().images]


def jpeg(image: Image.Image, quality: int, **more) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **more)
    return file.getvalue()


def edge(image: Image.Image, share: float) -> Image.Image:
    """The image without this share of it at each edge."""
    width, height = image.size
    return image.crop((int(share * width), int(share * height), width - int(share * width), height))


SAME = {
    "a JPEG of low quality": lambda image: Image.open(io.BytesIO(jpeg(image, 25))),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "twice the size": lambda image: image.resize((image.width * 2, image.height * 2)),
    "in grey": lambda image: image.convert("L").convert("RGB"),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "of less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "cut a little": lambda image: edge(image, 0.01),
}


@pytest.mark.parametrize("form", SAME)
@pytest.mark.parametrize("number", range(len(PHOTOS)))
def test_one_picture_in_another_form_is_near(number: int, form: str):
    picture = PHOTOS[number]
    assert distance(hash_of(picture), hash_of(SAME[form](picture))) <= NEAR


def test_another_picture_is_far():
    assert distance(*map(hash_of, PHOTOS)) > 2 * NEAR
    mirrored = PHOTOS[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert distance(hash_of(PHOTOS[0]), hash_of(mirrored)) > NEAR


def hash_of(image: Image.Image) -> str:
    found = perceptual_hash(image)
    assert found is not None and len(found) == DIGITS
    return found


def test_each_bit_compares_two_neighbours():
    """A ramp to the right is brighter than its left neighbour everywhere, and as its upper one."""
    ramp = np.tile(np.linspace(0, 255, 90, dtype=np.uint8), (90, 1))
    right = Image.fromarray(ramp).convert("RGB")
    assert int(hash_of(right), 16) == (1 << BITS) - (1 << BITS // 2)
    down = Image.fromarray(ramp.T.copy()).convert("RGB")
    assert int(hash_of(down), 16) == (1 << BITS // 2) - 1


@pytest.mark.parametrize("colour", ["white", "black", (200, 201, 202)])
def test_an_even_image_has_none(colour):
    assert perceptual_hash(Image.new("RGB", (64, 64), colour)) is None


def test_it_is_that_of_the_upright_image():
    turned = PHOTOS[0].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned back
    limits = Limits(max_image_pixels=10_000_000)
    upright = examine(jpeg(PHOTOS[0], 95), limits)
    found = examine(jpeg(turned, 95, exif=exif), limits)
    assert (found.width, found.height) == (upright.width, upright.height)
    assert distance(str(found.perceptual_hash), str(upright.perceptual_hash)) <= 2
