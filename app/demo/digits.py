"""Scikit-learn's handwritten digits as image files: 1797 real images, ten labels, a fixed split."""

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

LABELS = tuple("0123456789")
PARTIES = (("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9"))
WHITE = 16  # the largest value in the data set
EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest time in a zip; a fixed time gives equal images equal archives


@dataclass(frozen=True)
class Digit:
    """One handwritten digit as a PNG file."""

    label: str
    number: int  # in the data set
    png: bytes


def load(per_label: int | None = None) -> tuple[list[Digit], list[Digit]]:
    """Return training and held-out digits; every fifth digit of each label is held out.

    If `per_label` is given, only the first `per_label` digits of each label are used.
    """
    training: list[Digit] = []
    held_out: list[Digit] = []
    digits, seen = load_digits(), dict.fromkeys(LABELS, 0)
    for number, (pixels, target) in enumerate(zip(digits.images, digits.target, strict=True)):
        label = str(target)
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
                entry = zipfile.ZipInfo(f"{digit.label}/{digit.number:04}.png", EPOCH)
                archive.writestr(entry, digit.png)
    return file.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    grey = np.round(pixels * (255 / WHITE)).astype(np.uint8)
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def write(folder: Path) -> None:
    """Write the parties' archives `0-1.zip` … `8-9.zip`, and the held-out images as PNG files."""
    training, held_out = load()
    (folder / "held-out").mkdir(parents=True, exist_ok=True)
    for labels in PARTIES:
        (folder / f"{'-'.join(labels)}.zip").write_bytes(archive(training, labels))
    for digit in held_out:
        (folder / "held-out" / f"{digit.label}-{digit.number:04}.png").write_bytes(digit.png)
    print(f"Wrote {len(PARTIES)} archives and {len(held_out)} held-out images to {folder}")
