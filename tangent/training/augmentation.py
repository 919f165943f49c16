"""Fixed views of a training image: augmentation that keeps a component a function of its data.

View 0 is the image itself; every other one is a flip and a shift that depend on the view's number
alone, so what an image adds to a training depends on no other image.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

REACH = 8  # a shift is an eighth of the image's side
TURN = math.pi * (3 - math.sqrt(5))  # between two shifts' directions: no two are near each other


class Source(Protocol):
    """Labelled images in a fixed order."""

    @property
    def labels(self) -> Sequence[str]:
        """One label an image."""

    def batches(self, size: int) -> Iterator[Tensor]:
        """Preprocessed images (b, 3, S, S) float32 in the labels' order, anew at each call."""


class Views:
    """The images of a source in `count` views, one view of them all after the other."""

    def __init__(self, source: Source, count: int) -> None:
        self.labels = list(source.labels) * count
        self._source, self._count = source, count

    def batches(self, size: int) -> Iterator[Tensor]:
        for number in range(self._count):
            for images in self._source.batches(size):
                yield view(images, number)


def view(images: Tensor, number: int) -> Tensor:
    """Images (B, 3, S, S) as that view shows them: odd ones mirrored, all from 2 on shifted."""
    if number % 2:
        images = images.flip(-1)
    if number < 2:
        return images
    height, width = images.shape[-2:]
    reach = height // REACH
    angle = TURN * (number // 2)
    top, left = (reach + round(reach * f(angle)) for f in (math.sin, math.cos))
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    return padded[..., top : top + height, left : left + width]
