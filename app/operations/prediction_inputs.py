"""The inputs of a prediction: pixels, or the problem of an image that has none."""

import re
from typing import Any

import numpy as np

from app.errors import Invalid, Problem, TooLarge
from app.images.budget import TooExpensive
from app.images.image_files import BadImage
from tangent.backbones.geometry import Geometry

ADVICE = ": send a JPEG, PNG or WebP image file"
Image = bytes | np.ndarray | Problem  # a file, pixels of the space's size, or what is wrong with it


def fitting(image: np.ndarray | Problem, geometry: Geometry) -> np.ndarray | Problem:
    """Return the pixels, or a problem if they are not as many as the space takes."""
    height, width = geometry.crop
    if isinstance(image, Problem) or image.shape == (height, width, 3):
        return image
    return Invalid(
        "wrong_size",
        f"pixels come as {height} x {width} x 3 to this space, not as "
        f"{' x '.join(map(str, image.shape))}: resize them, or send the image file",
    )


def within(image: Image, max_bytes: int) -> Image:
    """Return the image, or a problem if its file has more bytes."""
    if isinstance(image, bytes) and len(image) > max_bytes:
        return too_large(len(image), max_bytes)
    return image


def too_large(size: int, max_bytes: int) -> TooLarge:
    """Return the problem of an image file of this size."""
    return TooLarge(
        "image_too_large",
        f"the image file has {size} bytes, more than the {max_bytes} allowed: send a smaller one",
    )


def input_of(found: Any) -> Any:
    """Return the pixels that a decoder has found, or the problem of what it has found wrong."""
    if isinstance(found, TooExpensive):
        return Invalid("image_too_expensive", found.reason)
    if isinstance(found, BadImage):
        is_advised = ": " in re.sub(r"\(.*\)", "", found.reason)
        return Invalid("bad_image", found.reason if is_advised else found.reason + ADVICE)
    return found
