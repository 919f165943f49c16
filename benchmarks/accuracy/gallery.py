"""A set of images as one backbone sees them: what its frozen part gives, computed once for all.

An image is its number here, as a tensor (1, 1, 1). Spaces of a gallery look its rows up, so that
the library's own `fit`, `compose` and `logits` run on cached rows without knowing.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tangent
from benchmarks.accuracy.pictures import Pictures
from tangent.backbones.loading import Backbone
from tangent.training.activation_cache import BATCH, cached


class Gallery:
    """The training images, numbered from 0, and after them the test images."""

    def __init__(
        self,
        backbone: str,
        pictures: Pictures,
        load: Callable[[str], Backbone] = tangent.load_backbone,
    ) -> None:
        """`backbone`: as `load` takes it."""
        self.name, self.backbone = pictures.name, load(backbone)
        self.backbone_name = backbone.removesuffix(".safetensors").rpartition("/")[2]
        self.labels = tuple(pictures.labels)
        self._images = pictures.train[0] + pictures.test[0]
        self.names = pictures.train[1] + pictures.test[1]
        column = {name: i for i, name in enumerate(self.labels)}
        self.truth = np.array([column[name] for name in self.names])
        self.train = np.arange(len(pictures.train[1]))
        self.test = np.arange(len(self.train), len(self.names))
        self._rows: dict[str, Tensor] = {}
        self._spaces: dict[tuple[str, bool], tangent.Space] = {}

    def space(self, scope: str, known: bool = False) -> tangent.Space:
        """The space of a scope; with every label declared where they are known in advance."""
        if (scope, known) not in self._spaces:
            declared = self.labels if known else ()
            self._spaces[scope, known] = Recalling(self, scope, declared)
        return self._spaces[scope, known]

    def rows(self, kind: str, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """`compute` of all images, once; in a file without a name that goes with the tensor."""
        if kind not in self._rows:
            with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
                self._rows[kind] = cached(
                    Path(folder) / "rows",
                    len(self._images),
                    self.batches(BATCH),
                    compute,
                    lambda _: None,
                )
        return self._rows[kind]

    def source(self, numbers: Sequence[int] | np.ndarray) -> "Numbered":
        """Return these images in the form that a training reads."""
        return Numbered(numbers, [self.names[i] for i in numbers])

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images, preprocessed, in batches."""
        for start in range(0, len(self._images), size):
            some = self._images[start : start + size]
            yield torch.stack([self.backbone.preprocess(image) for image in some])


class Numbered:
    """Images by number, with their labels."""

    def __init__(self, numbers: Sequence[int] | np.ndarray, labels: list[str]) -> None:
        self.images, self.labels = as_images(numbers), labels

    def batches(self, size: int) -> Iterator[Tensor]:
        """The numbers in order."""
        return iter(self.images.split(size))


def as_images(numbers: Sequence[int] | np.ndarray | np.ndarray) -> Tensor:
    """Numbers of images as images (n, 1, 1, 1)."""
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32).view(-1, 1, 1, 1)


def _numbers(images: Tensor) -> Tensor:
    return images.flatten().long()


class Recalling(tangent.Space):
    """A space whose frozen part has seen all images of a gallery."""

    def __init__(self, gallery: Gallery, scope: str, declared: Sequence[str]) -> None:
        self._recalled: Tensor | None = None
        super().__init__(gallery.backbone, scope, declared)
        if self.engine is None:
            self._recalled = gallery.rows(scope, super().readout_alone)
        else:
            self.engine = _RecallingEngine(self.engine, gallery.rows(scope, self.engine.rows))

    def readout(self, images: Tensor) -> Tensor:
        if self._recalled is None:
            return super().readout(images)
        return self._recalled[_numbers(images)]

    def readout_alone(self, images: Tensor) -> Tensor:
        if self._recalled is None:
            return super().readout_alone(images)
        return self.readout(images)


class _RecallingEngine:
    """An engine that has the rows of all images."""

    def __init__(self, engine: Any, rows: Tensor) -> None:
        self._engine, self._recalled = engine, rows

    def rows(self, images: Tensor) -> Tensor:
        return self._recalled[_numbers(images)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)
