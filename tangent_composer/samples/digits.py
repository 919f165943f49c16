"""Handwritten digits as image files: 1797 real images, ten labels, a fixed split.

The images are those of scikit-learn's `load_digits`, see SOURCE.md.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

LABELS = tuple("0123456789")
PARTIES = (("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9"))
WHITE = 16  # the largest value in the data set
SIDE = 8  # pixels
EARLIEST = (1980, 1, 1, 0, 0, 0)  # in a zip; a fixed time gives equal images equal archives


@dataclass(frozen=True)
class Digit:
    """One handwritten digit as a PNG file."""

    label: str
    number: int  # in the data set
    png: bytes


@dataclass(frozen=True)
class Archive:
    """Digits of some labels as a zip file; those held out are in no other archive."""

    file: str
    name: str
    labels: tuple[str, ...]
    num_images: int
    held_out: bool
    content: bytes


def load(per_label: int | None = None) -> tuple[list[Digit], list[Digit]]:
    """Return training and held-out digits; every fifth digit of each label is held out.

    If `per_label` is given, only the first `per_label` digits of each label are used.
    """
    training: list[Digit] = []
    held_out: list[Digit] = []
    seen = dict.fromkeys(LABELS, 0)
    for number, (label, pixels) in enumerate(_images()):
        position, seen[label] = seen[label], seen[label] + 1
        if per_label is None or position < per_label:
            chosen = held_out if position % 5 == 4 else training
            chosen.append(Digit(label, number, _png(pixels)))
    return training, held_out


def archive(digits: Iterable[Digit], labels: Iterable[str] = LABELS) -> bytes:
    """Return a zip of the digits with one of these labels, one folder per label."""
    wanted, file = set(labels), io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for digit in digits:
            if digit.label in wanted:
                entry = zipfile.ZipInfo(f"{digit.label}/{digit.number:04}.png", EARLIEST)
                archive.writestr(entry, digit.png)
    return file.getvalue()


def archives() -> list[Archive]:
    """Return the archive of each party, and last that of the held-out images."""
    training, held_out = load()
    parties = [_archive_of("-".join(labels), training, labels) for labels in PARTIES]
    return [*parties, _archive_of("held-out", held_out, LABELS, held_out=True)]


def _archive_of(
    name: str, digits: Sequence[Digit], labels: tuple[str, ...], *, held_out: bool = False
) -> Archive:
    number = sum(digit.label in labels for digit in digits)
    content = archive(digits, labels)
    return Archive(f"{name}.zip", f"digits {name}", labels, number, held_out, content)


def write(folder: Path) -> str:
    """Write the parties' archives `0-1.zip` … `8-9.zip`, and the held-out images as PNG files.

    Return a sentence about what was written.
    """
    training, held_out = load()
    (folder / "held-out").mkdir(parents=True, exist_ok=True)
    for labels in PARTIES:
        (folder / f"{'-'.join(labels)}.zip").write_bytes(archive(training, labels))
    for digit in held_out:
        (folder / "held-out" / f"{digit.label}-{digit.number:04}.png").write_bytes(digit.png)
    return f"Wrote {len(PARTIES)} archives and {len(held_out)} held-out images to {folder}"


def _images() -> Iterator[tuple[str, bytes]]:
    """Yield the label and the pixels of each image, from 0 to WHITE."""
    data = lzma.decompress(files("tangent_composer.samples").joinpath("digits.xz").read_bytes())
    size = 1 + SIDE * SIDE
    for start in range(0, len(data), size):
        yield LABELS[data[start]], data[start + 1 : start + size]


def _png(pixels: bytes) -> bytes:
    """Return a grey PNG file of the pixels."""
    grey = bytes(round(value * 255 / WHITE) for value in pixels)
    rows = b"".join(b"\x00" + grey[start : start + SIDE] for start in range(0, len(grey), SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
