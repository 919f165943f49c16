"""The images that are sent: digits as PNGs of 32 px, and photographs as JPEGs of 500 × 375."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from tangent_composer.samples import digits

DIGITS, PHOTOGRAPHS = 64, 18
SIDE, SIZE = 32, (500, 375)
BOUNDARY = uuid4().hex
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def write_digits(folder: Path) -> list[str]:
    """Write held-out digits; return the files' paths."""
    _, held_out = digits.load()
    made = []
    for each in held_out[:DIGITS]:
        picture = Image.open(io.BytesIO(each.png)).convert("RGB")
        made.append(_saved(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), "PNG"))
    return _written(folder, "digit", ".png", made)


def write_photographs(folder: Path, archive: Path | None) -> list[str]:
    """Write a tar's first pictures, or drawn ones without a tar; return the files' paths."""
    pictures = _drawn() if archive is None else _of(archive)
    return _written(folder, "photograph", ".jpg", [_saved(each, "JPEG") for each in pictures])


def write_form(folder: Path, name: str, files: Sequence[str], count: int) -> str:
    """Write the form of one request with so many images; return its path."""
    parts = []
    for number in range(count):
        source = Path(files[number % len(files)])
        head = (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            f'name="images"; filename="{number}{source.suffix}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts.append(head.encode() + source.read_bytes() + b"\r\n")
    path = folder / f"{name}.form"
    path.write_bytes(b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())
    return str(path)


def _of(archive: Path) -> list[Image.Image]:
    """Return the pictures, scaled and cropped to one size: their files then cost about the same."""
    found: list[Image.Image] = []
    with tarfile.open(archive) as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            picture = Image.open(io.BytesIO(file.read())).convert("RGB")
            scale = max(SIZE[0] / picture.width, SIZE[1] / picture.height)
            wide, high = (round(side * scale) for side in picture.size)
            box = ((wide - SIZE[0]) // 2, (high - SIZE[1]) // 2)
            scaled = picture.resize((wide, high), Image.Resampling.BICUBIC)
            found.append(scaled.crop((*box, box[0] + SIZE[0], box[1] + SIZE[1])))
            if len(found) == PHOTOGRAPHS:
                return found
    if not found:
        raise SystemExit(f"{archive} holds no pictures")
    return found


def _drawn() -> list[Image.Image]:
    """Draw pictures whose detail falls off as in photographs: noise of every size, added up."""
    chance, made = np.random.default_rng(0), []
    for _ in range(PHOTOGRAPHS):
        total = np.zeros((SIZE[1], SIZE[0], 3))
        for step in (125, 25, 5, 1):
            shape = (-(-SIZE[1] // step), -(-SIZE[0] // step), 3)
            noise = chance.normal(0, 9 + step**0.7, shape).clip(-127, 127) + 128
            layer = Image.fromarray(noise.astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
            total += np.asarray(layer, float) - 128
        made.append(Image.fromarray((total + 128).clip(0, 255).astype(np.uint8)))
    return made


def _saved(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, quality=95)
    return file.getvalue()


def _written(folder: Path, name: str, ending: str, files: list[bytes]) -> list[str]:
    paths = [folder / f"{name}-{number:02}{ending}" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]
