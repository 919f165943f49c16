"""Image files as bytes, turned into upright RGB images or refused with a reason.

What each kind of file becomes (standard RGB is assumed throughout; ICC profiles are not applied):

    grey, 1-bit, palette, YCbCr, CMYK      as Pillow converts them to RGB
    with transparency, of any kind         composited on white
    16-bit grey (also in 32-bit samples)   0…65535 scaled to 0…255; never by the image's own range
    animated                               its first frame
    turned by its EXIF orientation         as it was meant to be seen
    floating point, LAB                    refused: their samples have no range to scale from

Pixels are counted in the header before any is decoded, and the sides are compared there: a
network's preprocessing brings the shorter side to its own size, and the longer one grows with it.
The bound is the same for networks of every size, as a dataset belongs to no space.
No torch here: uploads are checked with it.
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
    "MPO": "image/jpeg",  # what phones write: a JPEG with further ones behind it
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
}
FORMATS = tuple(name for name in MEDIA_TYPES if name != "MPO")
TURNED = {
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
MAX_ASPECT = 100  # longer side by shorter side; of a longer image the centre crop sees under 1 %
NO_MEMORY = "decoding it needs more memory than there is"
STRIP = 2**20  # pixels composited at a time, so that a large image is not held three times

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, a refusal with a reason; Pillow's is a warning
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on odd metadata


Input = TypeVar("Input")


class Limits(Protocol):
    """The part of the settings that bounds one image."""

    @property
    def max_image_bytes(self) -> int: ...

    @property
    def max_image_pixels(self) -> int: ...


class BadImage(Exception):
    """This file cannot be used as an image; `reason` is the sentence that says why."""

    def __init__(self, reason: str, pixels: int = 0) -> None:
        """`pixels` were announced and at least partly decoded before the fault showed."""
        super().__init__(reason)
        self.reason, self.pixels = reason, pixels


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image file turned out to be; width and height as it is meant to be seen."""

    media_type: str
    width: int
    height: int


def decode(data: bytes, limits: Limits) -> Image.Image:
    """The file's image in RGB, upright.

    Raises:
        BadImage: if it is over a limit, damaged, or no image.
    """
    with _opened(data, limits) as image:
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


def examine(data: bytes, limits: Limits, *, apart: Callable[[bytes], Facts] | None = None) -> Facts:
    """Decode the whole file and tell what it is; what passes here passes `decode`.

    `apart` examines the large images in this one's place, where their memory does not matter.

    Raises:
        BadImage: as `decode`.
    """
    with _opened(data, limits) as image:
        if apart is None or image.width * image.height <= LARGE:
            image.load()
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            return Facts(MEDIA_TYPES[str(image.format)], width, height)
    return apart(data)


def thumbnail(data: bytes, limits: Limits, size: int) -> tuple[bytes, str]:
    """The image within a square of `size` pixels, never enlarged, and its media type.

    Raises:
        BadImage: as `decode`.
    """
    with _opened(data, limits) as image:
        image.draft("RGB", (2 * size, 2 * size))  # a JPEG decodes faster at 1/2, 1/4, 1/8
        image.load()
        small = _upright(_rgb(image), _orientation(image))
        small.thumbnail((size, size))
    file = io.BytesIO()
    if max(small.size) <= 128:  # as PNG it is small anyway, and every pixel can be seen
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The image, within limits by its header; any failure in the block is a BadImage."""
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
        # Pillow's decoders meet hostile bytes with errors of every kind: struct.error, KeyError,
        # SyntaxError, OverflowError … None of them may be taken for a failure of the service.
        raise BadImage(f"the image is damaged or cut off ({_told(error)})", pixels) from error


def _told(error: Exception) -> str:
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
            "other (crop or pad it)"
        )
    if image.mode not in READABLE:
        raise BadImage(
            f"its samples are of the kind {image.mode!r}, which has no fixed range: "
            "store it with 8 or 16 bits a sample in grey, RGB or CMYK"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of a loaded image; damaged metadata counts as none."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels are good, whatever the camera wrote beside them
        return 1
    return value if value in TURNED else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNED[orientation]) if orientation in TURNED else image


def _rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any readable mode in RGB, detached from its file."""
    if image.mode in SIXTEEN_BIT:
        return _from_sixteen_bit(image)
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")  # a copy even of RGB


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    eight = np.empty(samples.shape, np.uint8)
    for row, line in enumerate(samples):  # by line: no second image of wide integers
        eight[row] = (np.clip(line, 0, 65535).astype(np.uint32) * 255 + 32767) // 65535
    return Image.fromarray(eight, "L").convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size, "white")
    step = max(1, STRIP // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(top + step, image.height))
        strip = image.crop(box)
        if strip.mode == "La":  # the one mode without a direct way to RGBA
            strip = strip.convert("LA")
        strip = strip.convert("RGBA")
        result.paste(strip, box[:2], strip.getchannel("A"))
    return result
