"""The labelled images that accuracy is measured on, as PIL images, in fixed subsets."""

import gzip
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tangent_composer.samples import digits

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
GARMENTS = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
HOW_TO_GET_IT = (
    "Fashion-MNIST is not at {path}: on Debian and Ubuntu `apt-get install dataset-fashion-mnist` "
    "puts it there; elsewhere give the folder of its four idx.gz files with --fashion-mnist PATH"
)
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
Labelled = tuple[list[Image.Image], list[str]]


@dataclass(frozen=True)
class Pictures:
    """A named set of RGB images with labels, split for training and testing."""

    name: str
    train: Labelled
    test: Labelled

    @property
    def labels(self) -> list[str]:
        """Every label in the order of the classes, in which the images lie."""
        return list(dict.fromkeys(self.train[1]))


def handwritten_digits(per_label: int | None = None) -> Pictures:
    """Scikit-learn's digits, in the demo's split."""
    parts = []
    for part in digits.load(per_label):
        ordered = sorted(part, key=lambda digit: (digit.label, digit.number))
        images = [Image.open(io.BytesIO(digit.png)).convert("RGB") for digit in ordered]
        parts.append((images, [digit.label for digit in ordered]))
    return Pictures("digits", *parts)


def fashion_mnist(folder: Path, train_per_label: int, test_per_label: int) -> Pictures:
    """The first images of each label of Fashion-MNIST.

    Raises:
        FileNotFoundError: the folder has no such files; the message says how to get them.
    """
    return Pictures(
        "fashion-mnist",
        _first(folder, "train", train_per_label),
        _first(folder, "t10k", test_per_label),
    )


def _first(folder: Path, part: str, per_label: int) -> Labelled:
    images = _idx(folder, f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, 28, 28)
    classes = _idx(folder, f"{part}-labels-idx1-ubyte.gz", header=8)
    rows = np.concatenate([np.flatnonzero(classes == k)[:per_label] for k in range(len(GARMENTS))])
    pictures = [Image.fromarray(images[i]).convert("RGB") for i in rows]
    return pictures, [GARMENTS[classes[i]] for i in rows]


def _idx(folder: Path, name: str, header: int) -> np.ndarray:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(HOW_TO_GET_IT.format(path=folder))
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)


def both(first: Pictures, second: Pictures) -> Pictures:
    """The images and labels of two sets that share no label, as one set."""
    shared = sorted(set(first.labels) & set(second.labels))
    if shared:
        raise ValueError(f"{first.name} and {second.name} share the label {shared[0]}")
    parts = [
        (a[0] + b[0], a[1] + b[1])
        for a, b in ((first.train, second.train), (first.test, second.test))
    ]
    return Pictures(f"{first.name}+{second.name}", *parts)


def image_folder(
    path: Path, train_per_label: int, test_per_label: int, only: Collection[str] = ()
) -> Pictures:
    """The first images by name of `train/<label>/*` and `test/<label>/*`; labels by name.

    Raises:
        FileNotFoundError: a part or a wanted label is not there, or holds no image.
    """
    labels = sorted(only) or sorted(p.name for p in (path / "train").glob("*") if p.is_dir())
    if not labels:
        raise FileNotFoundError(f"{path} needs the folders train/<label> and test/<label>")
    parts = []
    for part, most in (("train", train_per_label), ("test", test_per_label)):
        images: list[Image.Image] = []
        names: list[str] = []
        for label in labels:
            found = sorted(
                file for file in (path / part / label).glob("*") if file.suffix.lower() in SUFFIXES
            )
            if not found:
                raise FileNotFoundError(f"{path / part / label} holds no image")
            images += [Image.open(file).convert("RGB") for file in found[:most]]
            names += [label] * len(found[:most])
        parts.append((images, names))
    return Pictures(path.name, *parts)
