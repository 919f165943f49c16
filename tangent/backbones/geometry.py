"""The geometry of a preprocessing: resizing and cropping, as data that another process can follow.

Uses Pillow only, so that a process which decodes images starts without torch. Applied to an image,
a geometry gives the same pixels, bit for bit, as the transforms that it was read from.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from PIL import Image

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Geometry:
    """One resizing, then a crop of the centre.

    `mode` names the resizing: `shorter` makes the shorter side `resize[0]` long; `both` makes the
    image as large as `resize`; `ratio` keeps the sides' ratio between those that the two sides of
    `resize` ask for, at `longest` of the way from the smaller to the larger reduction.
    """

    mode: str
    resize: Size
    interpolation: int  # one of Image.Resampling
    crop: Size
    longest: float = 0.0
    fill: tuple[int, int, int] = (0, 0, 0)  # around an image smaller than the crop

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return the geometry that `fields` returned the fields of, also after a trip by JSON."""
        same: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**same)

    def fields(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the image resized and cropped."""
        height, width = self._resized(image.height, image.width)
        if (image.height, image.width) != (height, width):
            image = image.resize((width, height), Image.Resampling(self.interpolation))
        return _centre(image, self.crop, self.fill)

    def _resized(self, height: int, width: int) -> Size:
        if self.mode == "both":
            return self.resize
        if self.mode == "shorter":
            shorter, longer = sorted((height, width))
            short, long = self.resize[0], int(self.resize[0] * longer / shorter)
            return (long, short) if width <= height else (short, long)
        ratios = height / self.resize[0], width / self.resize[1]
        ratio = max(ratios) * self.longest + min(ratios) * (1.0 - self.longest)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _centre(image: Image.Image, crop: Size, fill: Sequence[int]) -> Image.Image:
    """Return the centre of the image, with `fill` on either side where the image is smaller."""
    height, width = crop
    if width > image.width or height > image.height:
        left, top = max(0, width - image.width) // 2, max(0, height - image.height) // 2
        padded = Image.new(
            image.mode, (max(width, image.width), max(height, image.height)), tuple(fill)
        )
        padded.paste(image, (left, top))
        image = padded
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
