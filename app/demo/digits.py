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
WHITE = 16  # the data set's largest value
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's earliest time: the same images, the same archive


@dataclass(frozen=True)
class Digit:
    """One handwritten digit as a PNG file."""

    label: str
    number: int  # in the data set
    png: bytes


def load(per_label: int | None = None) -> tuple[list[Digit], list[Digit]]:
    """Training and held-out digits: every fifth of each label is held out.

    Of each label only the first `per_label` are taken where that is given.
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
    """A zip of those digits that have one of the labels, in one folder a label."""
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
    """The digits as parties have them, `0-1.zip` … `8-9.zip`; and the held-out ones, to ask for."""
    training, held_out = load()
    (folder / "held-out").mkdir(parents=True, exist_ok=True)
    for labels in PARTIES:
        (folder / f"{'-'.join(labels)}.zip").write_bytes(archive(training, labels))
    for digit in held_out:
        (folder / "held-out" / f"{digit.label}-{digit.number:04}.png").write_bytes(digit.png)
    print(f"{len(PARTIES)} archives and {len(held_out)} held-out images in {folder}")
