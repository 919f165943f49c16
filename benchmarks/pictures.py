"""The labelled images that accuracy is measured on, as PIL images, in fixed subsets."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from app.demo import digits

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
HOW_TO_GET_IT = (
    "Fashion-MNIST is not at {path}: on Debian and Ubuntu `apt-get install dataset-fashion-mnist` "
    "puts it there; elsewhere give the folder of its four idx.gz files with --fashion-mnist PATH"
)
Labelled = tuple[list[Image.Image], list[str]]


@dataclass(frozen=True)
class Pictures:
    """A named set of RGB images with labels, split for training and testing."""

    name: str
    train: Labelled
    test: Labelled

    @property
    def labels(self) -> list[str]:
        """Every label, sorted."""
        return sorted(set(self.train[1]))


def handwritten_digits(per_label: int | None = None) -> Pictures:
    """Scikit-learn's digits, in the demo's split."""
    parts = []
    for part in digits.load(per_label):
        images = [Image.open(io.BytesIO(digit.png)).convert("RGB") for digit in part]
        parts.append((images, [digit.label for digit in part]))
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
    labels = _idx(folder, f"{part}-labels-idx1-ubyte.gz", header=8)
    rows = np.sort(np.concatenate([np.flatnonzero(labels == k)[:per_label] for k in range(10)]))
    return [Image.fromarray(images[i]).convert("RGB") for i in rows], [str(labels[i]) for i in rows]


def _idx(folder: Path, name: str, header: int) -> np.ndarray:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(HOW_TO_GET_IT.format(path=folder))
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)
