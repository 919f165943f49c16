"""Image files as bytes, turned into upright RGB images or refused with a reason.

The result for every kind of file (all are read as standard RGB; ICC profiles are not applied):

    grey, 1-bit, palette, YCbCr, CMYK      converted to RGB by Pillow
    any kind with transparency             composited on white
    16-bit grey (also in 32-bit samples)   0…65535 scaled to 0…255, whatever range the image uses
    TIFF whose 0 is white                  turned round
    animated                               the first frame
    with an EXIF orientation               turned upright
    floating point, LAB                    refused: the samples have no fixed range to scale from

The header's size is checked before any pixel is decoded, and so is the ratio of the sides: a
network's preprocessing scales the shorter side to a fixed size, and the longer side in proportion.
The bounds are the same for every network, as a dataset belongs to no space.
This module does not import torch: it runs in the processes of `app.images`.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image, PngImagePlugin

from app.images import file_kinds, png_rows, samples
from app.images.perceptual_hash import perceptual_hash

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
MAX_ASPECT = 100  # longer side by shorter side; of a longer image the centre crop shows under 1 %
ANEW = "save it again as JPEG or PNG"
NO_MEMORY = "decoding the image needs more memory than it may take: save it with fewer pixels"

Image.MAX_IMAGE_PIXELS = None  # our own limit refuses with a reason; Pillow's only warns
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on odd metadata
# An ICC profile or XMP of more than a megabyte, as some programs write, does not cost the image.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 * 2**20


OnHeader = Callable[[int], object]


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
    """The media type of an image file, and its width, height and perceptual hash when upright."""

    media_type: str
    width: int
    height: int
    perceptual_hash: str | None = field(default=None, compare=False)  # None: too even for one


def decode(data: bytes, limits: Limits, on_header: OnHeader = int) -> Image.Image:
    """Return the file's image in RGB, upright.

    `on_header` is called with the number of pixels once the header has passed its checks.

    Raises:
        BadImage: if it is over a limit, damaged, or no image.
    """
    with _loaded(data, limits, on_header) as image:
        return _upright(samples.rgb(image, _depth(data)), _orientation(image))


def examine(data: bytes, limits: Limits, on_header: OnHeader = int) -> Facts:
    """Decode the whole file and return its facts; `decode` accepts every file accepted here.

    Raises:
        BadImage: as `decode`.
    """
    with _loaded(data, limits, on_header) as image:
        upright = _upright(samples.rgb(image, _depth(data)), _orientation(image))
        media_type, seen = MEDIA_TYPES[str(image.format)], perceptual_hash(upright)
        return Facts(media_type, *upright.size, seen)


def thumbnail(
    data: bytes, limits: Limits, size: int, on_header: OnHeader = int
) -> tuple[bytes, str]:
    """Return the image within a square of `size` pixels, never enlarged, and its media type.

    Raises:
        BadImage: as `decode`.
    """
    # A JPEG decodes faster at 1/2, 1/4, 1/8.
    with _loaded(data, limits, on_header, draft=2 * size) as image:
        small = _upright(samples.rgb(image, _depth(data)), _orientation(image))
        small.thumbnail((size, size))
    file = io.BytesIO()
    if max(small.size) <= 128:  # a PNG is small enough here, and keeps every pixel
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"


@contextmanager
def _loaded(
    data: bytes, limits: Limits, on_header: OnHeader, draft: int | None = None
) -> Iterator[Image.Image]:
    """Open the image, check and load it; turn any failure in the block into a BadImage."""
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
            on_header(image.width * image.height)
            pixels = image.width * image.height
            if draft is not None:
                image.draft("RGB", (draft, draft))
            image.load()
            if image.format == "PNG" and png_rows.lacks_rows(data, image):
                raise BadImage("the image is damaged or cut off (it lacks rows)", pixels)
            samples.check_loaded(image, _depth(data))
            yield image
    except BadImage:
        raise
    except samples.Unreadable as error:
        raise BadImage(str(error), pixels) from None
    except Image.UnidentifiedImageError:
        raise BadImage(_unidentified(data)) from None
    except MemoryError:
        raise BadImage(NO_MEMORY, pixels) from None
    except Exception as error:
        # Pillow's decoders raise errors of every kind on hostile bytes: struct.error, KeyError,
        # SyntaxError, OverflowError … None of them is a failure of the service.
        if "unknown raw mode" in str(error):
            raise BadImage(
                f"its samples are in an order that is not read: {ANEW}", pixels
            ) from None
        raise BadImage(f"the image is damaged or cut off ({_printable(error)})", pixels) from error


def _unidentified(data: bytes) -> str:
    names = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    head = data[: file_kinds.HEAD]
    if other := file_kinds.other_image(head):
        return f"this is {other}, not a {names} image: save it as JPEG or PNG"
    if name := file_kinds.image(head):
        return (
            f"the image is damaged or cut off in its header, or is a {name} of a kind that is "
            f"not read: {ANEW}"
        )
    if kind := file_kinds.no_image(head):
        return f"this is {kind}, not a {names} image"
    return f"this is not a {names} image, or its header is damaged"


def _depth(data: bytes) -> int | None:
    """Return the bits per sample of a PNG file, None of any other."""
    return data[24] if data.startswith(b"\x89PNG") else None


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
    samples.check(image)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of a loaded image; 1 if its metadata is damaged."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels are good even if the metadata is not
        return 1
    return value if value in TRANSPOSE else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image
