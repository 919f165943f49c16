"""The inputs of a prediction: pixels, or the problem of an image that has none."""

from typing import Any

import numpy as np

from app.errors import Invalid, Problem
from app.images.budget import TooExpensive
from app.images.image_files import BadImage
from tangent.backbones.geometry import Geometry


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


def input_of(found: Any) -> Any:
    """Return the pixels that a decoder has found, or the problem of what it has found wrong."""
    if isinstance(found, TooExpensive):
        return Invalid("image_too_expensive", found.reason)
    if isinstance(found, BadImage):
        return Invalid("bad_image", f"{found.reason}: send a JPEG, PNG or WebP image file")
    return found
