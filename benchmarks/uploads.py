"""Archives of any size for the upload benchmarks: distinct image files from few drawn ones."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

LABELS = 10
BASES = 16  # drawn images; a comment in each copy makes its bytes distinct
STEP = 2**20


class Case(NamedTuple):
    """One archive to upload."""

    name: str
    write: Callable[[Path], int]  # to this path; the number of images


def photos(kind: str, size: int) -> Case:
    """Photos of 1024 × 768 pixels, up to the size, in a tar or zip."""
    return Case(f"photos of 0.8 MP, {kind}", lambda path: _write(path, kind, size, _photos()))


def large(kind: str, count: int) -> Case:
    """Images of 48 megapixels, which take 190 MB each once decoded."""

    def files() -> Iterator[bytes]:
        for number, data in zip(range(count), _large(), strict=False):
            yield _distinct(data, number)

    return Case(f"images of 48 MP, {kind}", lambda path: _write(path, kind, None, files()))


def small(kind: str, count: int) -> Case:
    """PNG images of 32 × 32 pixels."""

    def files() -> Iterator[bytes]:
        random = np.random.default_rng(0)
        drawn = cycle([_png(random.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(BASES)])
        for number, data in zip(range(count), drawn, strict=False):
            yield _distinct(data, number)

    return Case(f"{count} images of 32 px, {kind}", lambda path: _write(path, kind, None, files()))


def _photos() -> Iterator[bytes]:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(BASES):
        coarse = Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8))
        smooth = np.asarray(coarse.resize((1024, 768), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        drawn.append(_encoded(Image.fromarray(noisy), "JPEG", quality=90))
    for number, data in enumerate(cycle(drawn)):
        yield _distinct(data, number)


def _large() -> Iterator[bytes]:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    drawn = Image.fromarray(coarse).resize((8000, 6000), Image.Resampling.BICUBIC)
    yield from cycle(
        [
            _encoded(drawn, "JPEG", quality=80),
            _encoded(drawn, "JPEG", quality=80, progressive=True),
            _encoded(drawn.resize((2000, 1500)).resize((8000, 6000), 0), "PNG", compress_level=1),
        ]
    )


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    return _encoded(Image.fromarray(pixels), "PNG")


def _distinct(data: bytes, number: int) -> bytes:
    """The same image with the number as a comment, in the way of its format."""
    text = b"%012d" % number
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[2:]
    chunk = b"tEXtn\0" + text
    end = len(data) - 12  # before IEND
    size, check = struct.pack(">L", len(chunk) - 4), struct.pack(">L", zlib.crc32(chunk))
    return data[:end] + size + chunk + check + data[end:]


def _write(path: Path, kind: str, size: int | None, files: Iterator[bytes]) -> int:
    """Write until the files end or the next one would go over the size; the number written."""
    count = 0
    with path.open("wb") as file, _adder(file, kind) as add:
        for data in files:
            if size is not None and file.tell() + len(data) + STEP > size:
                break
            ending = "jpg" if data.startswith(b"\xff\xd8") else "png"
            add(f"bench/label{count % LABELS}/{count:06d}.{ending}", data)
            count += 1
    return count


@contextmanager
def _adder(file: io.BufferedWriter, kind: str) -> Iterator[Callable[[str, bytes], None]]:
    """Adds files to a new archive of this kind."""
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            yield lambda name, data: packed.writestr(zipfile.ZipInfo(name), data)
        return
    with tarfile.open(fileobj=file, mode="w") as tar:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

        yield add
