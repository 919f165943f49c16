"""Small images with a colour for each label, and archives of them; the same bytes every time."""

import hashlib
import io
import zipfile
from collections.abc import Iterable

import numpy as np
import PIL.Image


def image(label: str, number: int, size: int = 32) -> bytes:
    """A PNG of noise around a colour that the label decides; the same bytes every time."""
    seed = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
    colour = np.random.default_rng(seed).integers(40, 216, 3)
    noise = np.random.default_rng([seed, number]).normal(0, 30, (size, size, 3))
    pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def packed(contents: Iterable[tuple[str, int]]) -> bytes:
    """A zip of these images, in this order, each in the folder of its label."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for label, number in contents:
            info = zipfile.ZipInfo(f"{label}/{number:04d}.png", (2024, 1, 1, 0, 0, 0))
            archive.writestr(info, image(label, number))
    return file.getvalue()


def archive(counts: dict[str, int], start: int = 0) -> bytes:
    """A zip with a folder for each label and so many of its images, from number `start` on."""
    return packed(
        (label, number) for label, count in counts.items() for number in range(start, start + count)
    )
