"""Images to be predicted: files, bytes, Pillow images, arrays, folders, open files, and lists."""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangent_composer.client.archives import as_text, files_below
from tangent_composer.client.errors import BadInput
from tangent_composer.client.open_files import is_open_file, name_of, pieces
from tangent_composer.client.paths import local

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
KINDS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


@dataclass(frozen=True)
class Picture:
    """An image file's name and where its bytes are."""

    name: str
    source: bytes | Path

    def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            BadInput: it cannot be read.
        """
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise BadInput(
                "cannot_read",
                f"{self.source} cannot be read: {error.strerror}",
                "give an image file, a folder of images, bytes, a Pillow image or an array",
            ) from None


def media_type(data: bytes) -> str:
    """Return the media type that the first bytes tell."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in KINDS if data.startswith(magic)), _UNKNOWN)


_UNKNOWN = "application/octet-stream"


def pictures(images: Any) -> list[Picture]:
    """Return the images of any of the forms that a prediction takes, in order.

    Raises:
        BadInput: something is none of them, or there is no image.
    """
    found = list(_pictures(images, "image"))
    if not found:
        raise BadInput("no_images", "there are no images to predict", f"give {_FORMS}")
    return found


PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")  # of Pillow
_FORMS = "image files, open or by path, a folder of images, bytes, Pillow images or arrays of bytes"


def _pictures(images: Any, name: str) -> Iterator[Picture]:
    if isinstance(images, Picture):
        yield images
    elif isinstance(images, bytes | bytearray | memoryview):
        yield Picture(name, bytes(images))
    elif isinstance(images, str | os.PathLike):
        yield from _of_path(local(images))
    elif hasattr(images, "__array_interface__") and hasattr(images, "ndim"):
        yield from _of_array(images, name)
    elif hasattr(images, "save") and hasattr(images, "mode"):
        yield Picture(_name_of(images, name), _png(images))
    elif is_open_file(images):
        yield Picture(as_text(Path(name_of(images, name)).name), b"".join(pieces(images)))
    elif isinstance(images, Iterable):
        for number, image in enumerate(images):
            yield from _pictures(image, f"{name} {number}")
    else:
        raise BadInput("not_an_image", f"{type(images).__name__} is no image", f"give {_FORMS}")


def _of_path(path: Path) -> Iterator[Picture]:
    if not path.is_dir():
        yield Picture(as_text(path.name), path)
        return
    for name, found in files_below(path):
        inner = Path(os.fsdecode(found.path))
        if inner.suffix.lower() in SUFFIXES and not inner.name.startswith("."):
            yield Picture(name, inner)


def _of_array(array: Any, name: str) -> Iterator[Picture]:
    if array.dtype != "uint8":
        raise BadInput(
            "not_an_image",
            f"an array of {array.dtype} is no image",
            "give numbers from 0 to 255: (255 * array).round().astype('uint8')",
        )
    if array.ndim == 4:
        for number, image in enumerate(array):
            yield from _of_array(image, f"{name} {number}")
    elif array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4)):
        try:
            from PIL import Image
        except ImportError:
            raise BadInput(
                "needs_pillow",
                "arrays are written as PNG files by Pillow, which is not installed",
                "pip install 'tangent-composer[notebook]'",
            ) from None
        yield Picture(name, _png(Image.fromarray(array)))
    else:
        raise BadInput(
            "not_an_image",
            f"an array of shape {tuple(array.shape)} is no image",
            "give height x width, height x width x 3, or a batch of them",
        )


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    try:
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(file, "PNG")
    except (OSError, ValueError, SystemError) as error:  # of an empty array, Pillow's own fault
        raise BadInput(
            "not_an_image", f"a picture is no image that can be sent: {error}", f"give {_FORMS}"
        ) from None
    return file.getvalue()


def _name_of(image: Any, name: str) -> str:
    return Path(getattr(image, "filename", "") or name).name
