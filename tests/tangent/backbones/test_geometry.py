"""A geometry gives the pixels of timm's transforms to the bit, also after a trip by JSON."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tangent.backbones.geometry import Geometry
from tangent.backbones.loading import create_transform
from tangent.backbones.preprocessing import Preprocessing
from tangent.errors import UnsupportedModel

SIZES = [(32, 32), (33, 20), (7, 5), (100, 1), (1, 100), (300, 211), (64, 65)]
ORDINARY = SIZES[:3] + SIZES[5:]


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
@pytest.mark.parametrize("sides", [(32, 32), (48, 64)])
def test_a_geometry_and_the_numbers_after_it_are_the_transforms(mode, interpolation, crop, sides):
    transforms = create_transform(
        input_size=(3, *sides),
        interpolation=interpolation,
        crop_pct=crop,
        crop_mode=mode,
        mean=(0.48, 0.45, 0.4),
        std=(0.2, 0.2, 0.3),
        is_training=False,
    )
    preprocess = Preprocessing(transforms.transforms)
    geometry = Geometry.of(json.loads(json.dumps(preprocess.geometry.fields())))
    images = [noise(*size) for size in (SIZES if mode != "border" else ORDINARY)]
    pixels = [geometry.apply(image).tobytes() for image in images]
    carried = torch.tensor([list(each) for each in pixels], dtype=torch.uint8)
    inputs = preprocess.normalize(carried.view(-1, *sides, 3))
    assert inputs.is_contiguous()
    for image, found in zip(images, inputs, strict=True):
        expected = transforms(image)
        assert torch.equal(found, expected)
        assert torch.equal(preprocess(image), expected)


def test_numbers_that_are_made_in_another_way_are_made_image_by_image():
    usual = create_transform(input_size=(3, 32, 32), is_training=False).transforms
    inverted = [*usual[:3], lambda numbers: 1 - numbers, usual[3]]
    images = [noise(32, 32), noise(33, 32)]
    preprocess = Preprocessing(inverted)
    pixels = [np.asarray(preprocess.geometry.apply(image)) for image in images]
    stacked = torch.from_numpy(np.stack(pixels))
    found = preprocess.normalize(stacked)
    assert torch.equal(found, torch.stack([preprocess(image) for image in images]))
    assert not torch.equal(found, Preprocessing(usual).normalize(stacked))


def test_of_an_image_that_keeps_its_ratio_one_row_is_left_at_least():
    """timm's own transform fails at such an image."""
    geometry = Geometry("ratio", (32, 32), Image.Resampling.BILINEAR, (32, 32), 1.0, (1, 2, 3))
    shown = np.asarray(geometry.apply(Image.new("RGB", (100, 1), "white")))
    assert shown.shape == (32, 32, 3)
    assert (shown.max(axis=(1, 2)) == 255).sum() == 1


def test_the_resizing_of_an_image_100_times_as_long_as_wide_is_bounded(monkeypatch):
    made, resize = [], Image.Image.resize

    def counted(image, size, *given):
        made.append(size[0] * size[1])
        return resize(image, size, *given)

    monkeypatch.setattr(Image.Image, "resize", counted)
    Geometry("shorter", (36, 36), Image.Resampling.BICUBIC, (32, 32)).apply(noise(100, 1))
    assert made == [100 * 36**2]


def test_other_transforms_are_refused():
    with pytest.raises(UnsupportedModel, match="not a resizing and a crop of the centre"):
        Preprocessing([torch.nn.Identity()] * 3)
