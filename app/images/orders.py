"""Orders to a decode worker, and what stands for the answers of one that has died."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.images.image_files import NO_MEMORY
from app.images.process import Died
from app.images.worker import Answer
from tangent.backbones.geometry import Geometry

MAX_TOGETHER, MAX_TOGETHER_BYTES = 32, 2**18  # files in one order
LIGHT_SECONDS = 0.5  # counted for an image that proved heavy, and for the new worker


def together(files: Sequence[bytes], start: int, most: int) -> Sequence[bytes]:
    """Return the files from `start` on that go into one order: one, or a few small ones."""
    end, size = start + 1, len(files[start])
    while end < min(len(files), start + most) and size + len(files[end]) <= MAX_TOGETHER_BYTES:
        size += len(files[end])
        end += 1
    return files[start:end]


def order_of(geometry: Geometry) -> dict[str, Any]:
    """Return the order for pixels in this geometry, without the limits of an image."""
    return {"task": "pixels", "geometry": geometry.fields()}


def pixels_of(answer: Answer) -> np.ndarray:
    """Return the answer's pixels, uint8 (height, width, 3)."""
    shape = answer[0]["height"], answer[0]["width"], 3
    return np.frombuffer(answer[1], np.uint8).reshape(shape)


def epitaph(died: Died, order: dict[str, Any]) -> dict[str, Any]:
    """Return what stands for the answer of a worker that died."""
    if died.status >= 0:  # a fault of the service, not of the image
        raise RuntimeError(str(died))
    spent = {"seconds": order["seconds"] if order["heavy"] else LIGHT_SECONDS, "pixels": 0}
    if died.took_too_long:
        return spent | {"heavy": True}
    crash = "the image is damaged (its decoder crashes)"
    return spent | {"reason": NO_MEMORY if died.lacked_memory else crash}
