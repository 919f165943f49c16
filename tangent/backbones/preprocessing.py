"""The preprocessing of a backbone: timm's transforms, split where pixels become numbers.

The part before is a `Geometry`, which a process without torch can apply.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from tangent.backbones.geometry import Geometry
from tangent.errors import UnsupportedModel

RESIZINGS = ("Resize", "ResizeKeepRatio")
CROPS = ("CenterCrop", "CenterCropOrPad")
TENSOR, NORMALIZE = "MaybeToTensor", "Normalize"  # what follows them, for nearly all of timm


class Preprocessing:
    """A function from an RGB image to the network's input, float32 (3, S, S)."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        """Split timm's transforms for inference: a resizing, a crop, then numbers.

        Raises:
            UnsupportedModel: other transforms come first.
        """
        names = [type(each).__name__ for each in transforms]
        if len(names) < 3 or names[0] not in RESIZINGS or names[1] not in CROPS:
            raise UnsupportedModel(
                f"its preprocessing is {', '.join(names)}, not a resizing and a crop of the centre"
            )
        self.geometry = _geometry(*transforms[:2])
        self._numbers: Sequence[Callable[[Any], Any]] = transforms[2:]
        self._normalizes = names[2:] == [TENSOR, NORMALIZE]
        self._scales: dict[torch.device, tuple[Tensor, Tensor]] = {}  # means and deviations

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the network's input."""
        return self._input(self.geometry.apply(image))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return the network's inputs (B, 3, S, S) from the pixels of images, uint8 (B, S, S, 3).

        The geometry was applied to them. Every bit is as if each image came by itself, on the
        processor or, without a wait for it, on the device of the pixels.
        """
        if self._normalizes:
            numbers = pixels.permute(0, 3, 1, 2).contiguous().to(torch.get_default_dtype())
            mean, deviation = self._scales_on(numbers)
            return numbers.div_(255).sub_(mean).div_(deviation)
        images = [Image.fromarray(each) for each in pixels.cpu().numpy()]
        return torch.stack([self._input(image) for image in images]).to(pixels.device)

    def _scales_on(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalisation's means and deviations (3, 1, 1) where the numbers are."""
        key = numbers.device
        if key not in self._scales or self._scales[key][0].dtype != numbers.dtype:
            step: Any = self._numbers[1]
            mean, deviation = (torch.as_tensor(each).to(numbers) for each in (step.mean, step.std))
            self._scales[key] = mean.view(-1, 1, 1), deviation.view(-1, 1, 1)
        return self._scales[key]

    def _input(self, pixels: Image.Image) -> Tensor:
        numbers: Any = pixels
        for step in self._numbers:
            numbers = step(numbers)
        return cast(Tensor, numbers)


def _geometry(resizing: Any, crop: Any) -> Geometry:
    height, width = crop.size
    size = resizing.size
    sides = (size, size) if isinstance(size, int) else (size[0], size[-1])
    fill = getattr(crop, "fill", 0)
    if type(resizing).__name__ == "ResizeKeepRatio":
        mode = "ratio"
    else:
        mode = "shorter" if isinstance(size, int) or len(size) == 1 else "both"
    return Geometry(
        mode=mode,
        resize=(int(sides[0]), int(sides[1])),
        interpolation=int(Image.Resampling[resizing.interpolation.name]),
        crop=(int(height), int(width)),
        longest=float(getattr(resizing, "longest", 0.0)),
        fill=(fill, fill, fill) if isinstance(fill, int) else tuple(fill),
    )
