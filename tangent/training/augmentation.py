"""Deterministic augmentation: a component stays a function of its data.

View 0 is the image itself. Every other view is a flip and a shift that depend on the view's number
alone, so the contribution of an image to a training does not depend on any other image.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

REACH = 8  # a shift is an eighth of the image's side
TURN = math.pi * (3 - math.sqrt(5))  # golden angle: no two shifts have similar directions


class Source(Protocol):
    """Labelled images in a fixed order."""

    @property
    def labels(self) -> Sequence[str]:
        """The label of each image."""

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield preprocessed images (b, 3, S, S) float32 in the labels' order, at every call."""


class AugmentedSource:
    """A source repeated in `count` views: all images in view 0, then all in view 1, and so on."""

    def __init__(self, source: Source, count: int) -> None:
        self.labels = list(source.labels) * count
        self._source, self._count = source, count

    def batches(self, size: int) -> Iterator[Tensor]:
        for number in range(self._count):
            for images in self._source.batches(size):
                yield augmented(images, number)


def augmented(images: Tensor, number: int) -> Tensor:
    """Images (B, 3, S, S) in view `number`: odd views are mirrored, views from 2 on are shifted."""
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
