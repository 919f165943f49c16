"""The samples of an opened image file, of every kind, as 8-bit RGB; or why they cannot be read.

Pillow reads some rare files as something that they are not. They are read rightly here or refused.
"""

from collections.abc import Callable
from typing import Any

from PIL import Image, TiffImagePlugin

WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
READABLE = PLAIN + WITH_ALPHA + SIXTEEN_BIT
STRIP = 2**20  # pixels composited at a time, so that a large image is not held three times
MAX_SAMPLE = 65535  # of a 16-bit sample
PLANES = TiffImagePlugin.PLANAR_CONFIGURATION
COMMON = "save it with 8 or 16 bits per sample in grey or RGB"


class Unreadable(Exception):
    """The samples cannot be read; the message is a sentence that says why, and what to do."""


def check(image: Image.Image) -> None:
    """Check by the header that `rgb` will read the samples as they were meant.

    Raises:
        Unreadable: it would not.
    """
    if image.mode not in READABLE:
        raise Unreadable(
            f"its samples are of the kind {image.mode!r}, which has no fixed range: "
            "store it with 8 or 16 bits per sample in grey, RGB or CMYK"
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image)
    if image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise Unreadable(
            "it has four inks but no Adobe marker, without which 0 may mean full ink or none: "
            "save it in RGB"
        )


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    tags = image.tag_v2
    meant, raw = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION), tags.get(259, 1) == 1
    if meant is None and tags.get(259) != 6:  # old JPEG compression implies YCbCr
        raise Unreadable(f"its TIFF tags do not say whether 0 is black or white: {COMMON}")
    if meant == 5 and tags.get(332, 1) != 1:
        raise Unreadable(f"its samples are inks other than CMYK: {COMMON}")
    if meant == 6 and raw and tuple(tags.get(530, (2, 2))) != (1, 1):
        raise Unreadable(
            f"it is an uncompressed TIFF in YCbCr with fewer samples of colour: {COMMON}"
        )
    if raw and tags.get(PLANES) == 2 and not _are_plain_planes(image):
        raise Unreadable(
            "its samples lie in uncompressed planes (PlanarConfiguration 2), which are read with 8 "
            "bits in grey, RGB or CMYK only: save it with interleaved samples"
        )
    if meant == 3 and 0 < max(tags.get(320, (0,))) < 256:
        raise Unreadable(
            "its palette has 8 bits where a TIFF has 16, so that all is black: save it in RGB"
        )
    if tags.get(254, 0) & 1 and 330 in tags:
        raise Unreadable(
            "it is a camera's raw file, which shows only a small preview: save it as JPEG or PNG"
        )
    signed = 2 in tuple(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    if signed and 8 in _bits(image):
        raise Unreadable(f"its samples are signed, so that 0 is not black: {COMMON}")


def _are_plain_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether one letter of Pillow's raw mode, all that it keeps, tells what a plane is."""
    tags = image.tag_v2
    letters = {tile.args[0] for tile in image.tile}  # type: ignore[index]
    return (
        image.mode in ("L", "P", "RGB", "RGBA", "CMYK")
        and letters <= set(image.mode)  # not of a plane to be left out, nor of a premultiplied one
        and set(_bits(image)) == {8}
        and not _white_is_zero(image)
        and tags.get(TiffImagePlugin.FILLORDER, 1) == 1
    )


def check_loaded(image: Image.Image, depth: int | None) -> None:
    """Check a loaded image that `check` has passed; `depth` as for `rgb`.

    Raises:
        Unreadable: samples exceed the range of 16 bits, or a colour is not known.
    """
    if image.mode == "P" and image.palette is None:
        raise Unreadable("it has the numbers of colours, but no palette that tells them")
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > MAX_SAMPLE:  # type: ignore[operator]
            raise Unreadable(
                f"its samples go from {low} to {high}, beyond 0 to {MAX_SAMPLE}: "
                "scale them to 16 bits"
            )
    if image.mode == "RGB" and depth == 16 and "transparency" in image.info:
        raise Unreadable(
            "it has 16 bits per sample in RGB and a transparent colour: save it with an alpha "
            "channel, or with 8 bits per sample"
        )


def rgb(image: Image.Image, depth: int | None) -> Image.Image:
    """Return a loaded image that both checks have passed as RGB, detached from its file.

    Transparent parts show white. `depth` is the bits per sample of a PNG, None of other files.
    """
    transparent = image.info.get("transparency")
    if image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        return image.convert("RGB")  # many programs leave the byte for alpha empty
    if image.mode in SIXTEEN_BIT:
        return _from_sixteen_bit(image, transparent)
    if transparent is not None and image.mode in ("1", "L"):
        return _grey_on_white(image, _scaled(int(transparent), depth))
    if image.mode in WITH_ALPHA or transparent is not None:
        return _by_strips(image, "white", _pasted)
    return image.convert("RGB")  # a copy even of RGB


def _scaled(sample: int, depth: int | None) -> int:
    """Return a grey of a PNG as Pillow gives it in mode L; that of mode 1 is 0 or 255 already."""
    return sample * {2: 85, 4: 17}.get(depth or 8, 1) & 255


def _grey_on_white(image: Image.Image, transparent: int) -> Image.Image:
    table = [255 if grey == transparent else grey for grey in range(256)]
    return image.convert("L").point(table).convert("RGB")


def _from_sixteen_bit(image: Image.Image, transparent: Any) -> Image.Image:
    largest = 4095 if 12 in _bits(image) else MAX_SAMPLE
    table = [min(255, (grey * 255 + largest // 2) // largest) for grey in range(MAX_SAMPLE + 1)]
    if _white_is_zero(image):
        table = [255 - shown for shown in table]
    if transparent is not None:
        table[int(transparent) & MAX_SAMPLE] = 255

    def shown(strip: Image.Image) -> Image.Image:
        return strip.convert("I").point(table, "L")

    return _by_strips(image, "black", lambda result, strip, box: result.paste(shown(strip), box))


def _bits(image: Image.Image) -> tuple[int, ...]:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return ()
    return tuple(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))


def _white_is_zero(image: Image.Image) -> bool:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0)


def _pasted(result: Image.Image, strip: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Paste the strip onto the result by its transparency."""
    if strip.mode == "La":  # Pillow cannot convert this mode to RGBA directly
        strip = strip.convert("LA")
    strip = strip.convert("RGBA")
    result.paste(strip, box[:2], strip.getchannel("A"))


def _by_strips(
    image: Image.Image,
    background: str,
    paste: Callable[[Image.Image, Image.Image, tuple[int, int, int, int]], None],
) -> Image.Image:
    """Return an RGB image onto which `paste` has put one strip of the image after another."""
    result = Image.new("RGB", image.size, background)
    step = max(1, STRIP // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(top + step, image.height))
        paste(result, image.crop(box), box)
    return result
