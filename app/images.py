"""Image files as bytes, turned into upright RGB images or refused with a reason.

The result for every kind of file (all are read as standard RGB; ICC profiles are not applied):

    grey, 1-bit, palette, YCbCr, CMYK      converted to RGB by Pillow
    any kind with transparency             composited on white
    16-bit grey (also in 32-bit samples)   0…65535 scaled to 0…255, whatever range the image uses
    animated                               the first frame
    with an EXIF orientation               turned upright
    floating point, LAB                    refused: the samples have no fixed range to scale from

The header's size is checked before any pixel is decoded, and so is the ratio of the sides: a
network's preprocessing scales the shorter side to a fixed size, and the longer side in proportion.
The bounds are the same for every network, as a dataset belongs to no space.
This module does not import torch, as uploads are checked with it.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # written by phones: a JPEG followed by further ones
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
}
FORMATS = tuple(name for name in MEDIA_TYPES if name != "MPO")
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112  # the EXIF tag
WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
READABLE = PLAIN + WITH_ALPHA + SIXTEEN_BIT
LARGE = 4_000_000  # pixels; 16 MB decoded
MAX_ASPECT = 100  # longer side by shorter side; of a longer image the centre crop shows under 1 %
NO_MEMORY = "decoding the image needs more memory than there is"
STRIP = 2**20  # pixels composited at a time, so that a large image is not held three times

Image.MAX_IMAGE_PIXELS = None  # our own limit refuses with a reason; Pillow's only warns
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on odd metadata


Input = TypeVar("Input")


class Limits(Protocol):
    """The part of the settings that bounds one image."""

    @property
    def max_image_bytes(self) -> int: ...

    @property
    def max_image_pixels(self) -> int: ...


class BadImage(Exception):
    """This file cannot be used as an image; the sentence `reason` says why."""

    def __init__(self, reason: str, pixels: int = 0) -> None:
        """`pixels` counts the image's pixels if decoding had begun before the fault showed."""
        super().__init__(reason)
        self.reason, self.pixels = reason, pixels


@dataclass(frozen=True, slots=True)
class Facts:
    """The media type of an image file, and its width and height when upright."""

    media_type: str
    width: int
    height: int


def decode(data: bytes, limits: Limits) -> Image.Image:
    """Return the file's image in RGB, upright.

    Raises:
        BadImage: if it is over a limit, damaged, or no image.
    """
    with _open(data, limits) as image:
        image.load()
        return _upright(_rgb(image), _orientation(image))


def prepared(data: bytes, limits: Limits, preprocess: Callable[[Image.Image], Input]) -> Input:
    """Return what `preprocess` makes of the file's image.

    Raises:
        BadImage: as `decode`, and if the memory does not suffice for `preprocess`.
    """
    image = decode(data, limits)
    try:
        return preprocess(image)
    except MemoryError:
        raise BadImage(NO_MEMORY) from None


def examine(
    data: bytes, limits: Limits, *, decode_large: Callable[[bytes], Facts] | None = None
) -> Facts:
    """Decode the whole file and return its facts; `decode` accepts every file accepted here.

    `decode_large`, if given, examines images over LARGE pixels, in a process of its own.

    Raises:
        BadImage: as `decode`.
    """
    with _open(data, limits) as image:
        if decode_large is None or image.width * image.height <= LARGE:
            image.load()
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            return Facts(MEDIA_TYPES[str(image.format)], width, height)
    return decode_large(data)


def thumbnail(data: bytes, limits: Limits, size: int) -> tuple[bytes, str]:
    """Return the image within a square of `size` pixels, never enlarged, and its media type.

    Raises:
        BadImage: as `decode`.
    """
    with _open(data, limits) as image:
        image.draft("RGB", (2 * size, 2 * size))  # a JPEG decodes faster at 1/2, 1/4, 1/8
        image.load()
        small = _upright(_rgb(image), _orientation(image))
        small.thumbnail((size, size))
    file = io.BytesIO()
    if max(small.size) <= 128:  # a PNG is small enough here, and keeps every pixel
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """Open the image and check its header; turn any failure in the block into a BadImage."""
    if not data:
        raise BadImage("the file is empty")
    if len(data) > limits.max_image_bytes:
        raise BadImage(
            f"the file has {len(data)} bytes, more than the {limits.max_image_bytes} allowed"
        )
    pixels = 0
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, limits)
            pixels = image.width * image.height
            yield image
    except BadImage:
        raise
    except Image.UnidentifiedImageError:
        names = ", ".join(FORMATS[:-1])
        raise BadImage(
            f"this is not a {names} or {FORMATS[-1]} image, or its header is damaged"
        ) from None
    except MemoryError:
        raise BadImage(NO_MEMORY) from None
    except Exception as error:
        # Pillow's decoders raise errors of every kind on hostile bytes: struct.error, KeyError,
        # SyntaxError, OverflowError … None of them is a failure of the service.
        raise BadImage(f"the image is damaged or cut off ({_printable(error)})", pixels) from error


def _printable(error: Exception) -> str:
    text = "".join(filter(str.isprintable, str(error)))[:120]
    return text if text and " at 0x" not in text else type(error).__name__


def _check_header(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(f"the image has no pixels ({width} × {height})")
    if width * height > limits.max_image_pixels:
        raise BadImage(
            f"the image has {width} × {height} pixels, more than the "
            f"{limits.max_image_pixels} allowed"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(
            f"the image has {width} × {height} pixels, one side more than {MAX_ASPECT} times the "
            "other: crop or pad the image"
        )
    if image.mode not in READABLE:
        raise BadImage(
            f"its samples are of the kind {image.mode!r}, which has no fixed range: "
            "store it with 8 or 16 bits per sample in grey, RGB or CMYK"
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of a loaded image; 1 if its metadata is damaged."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels are good even if the metadata is not
        return 1
    return value if value in TRANSPOSE else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def _rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image of any readable mode as RGB, detached from its file."""
    if image.mode in SIXTEEN_BIT:
        return _from_sixteen_bit(image)
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")  # a copy even of RGB


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    eight = np.empty(samples.shape, np.uint8)
    for row, line in enumerate(samples):  # line by line: no second image of wide integers
        eight[row] = (np.clip(line, 0, 65535).astype(np.uint32) * 255 + 32767) // 65535
    return Image.fromarray(eight, "L").convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size, "white")
    step = max(1, STRIP // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(top + step, image.height))
        strip = image.crop(box)
        if strip.mode == "La":  # Pillow cannot convert this mode to RGBA directly
            strip = strip.convert("LA")
        strip = strip.convert("RGBA")
        result.paste(strip, box[:2], strip.getchannel("A"))
    return result
