"""The papers' ways to deal a dataset's images to parties, and the labels that answers choose from.

Indices are those of the dealt images. Seed 0 deals as the papers' code does; another seed deals
another order of the labels or of the images.

| protocol          | a party has                                                               |
|-------------------|---------------------------------------------------------------------------|
| class-incremental | all images of its own labels: contiguous runs, the first ones longer by 1  |
| task-incremental  | the same; an answer is chosen among the labels of the image's own party    |
| data-incremental  | every T-th image of all, shuffled                                         |
| skewed            | of each label a share drawn from Dirichlet(0.1)                           |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PAPERS_SEED = 139  # of the shuffle that precedes dealing image by image
CONCENTRATION = 0.1  # of the Dirichlet distribution: most of a label goes to one or two parties
CLASSES, TASKS, DATA, SKEWED = NAMES = (
    *("class-incremental", "task-incremental", "data-incremental", "skewed"),
)


@dataclass(frozen=True)
class Protocol:
    """A way to deal to a number of parties."""

    name: str
    parties: int

    def __str__(self) -> str:
        return f"{self.name}, T = {self.parties}"

    def deal(self, truth: Sequence[int], labels: int, seed: int) -> list[np.ndarray]:
        """The images of each party by index into `truth`, ascending; parties without any left out.

        Raises:
            ValueError: more parties than there are labels, or images, to deal to them.
        """
        classes = np.asarray(truth)
        if self.name in (CLASSES, TASKS):
            parts = class_incremental(classes, labels, self.parties, seed)
        elif self.name == DATA:
            parts = data_incremental(classes, self.parties, seed)
        else:
            parts = skewed(classes, labels, self.parties, seed)
        return [np.sort(part) for part in parts if len(part)]


def class_incremental(truth: np.ndarray, labels: int, parties: int, seed: int) -> list[np.ndarray]:
    """All images of each party's labels."""
    return [np.flatnonzero(np.isin(truth, own)) for own in label_runs(labels, parties, seed)]


def label_runs(labels: int, parties: int, seed: int) -> list[np.ndarray]:
    """The labels in order, or shuffled by a seed above 0, in runs that differ by one at most."""
    if parties > labels:
        raise ValueError(f"{labels} labels cannot be dealt to {parties} parties")
    order = np.arange(labels)
    if seed:
        np.random.default_rng(seed).shuffle(order)
    return np.array_split(order, parties)


def data_incremental(truth: np.ndarray, parties: int, seed: int) -> list[np.ndarray]:
    """Every T-th of the shuffled images."""
    if parties > len(truth):
        raise ValueError(f"{len(truth)} images cannot be dealt to {parties} parties")
    order = np.arange(len(truth))
    np.random.default_rng(PAPERS_SEED + seed).shuffle(order)
    return [order[party::parties] for party in range(parties)]


def skewed(truth: np.ndarray, labels: int, parties: int, seed: int) -> list[np.ndarray]:
    """Each label's shuffled images cut in proportions that are drawn anew for every label."""
    generator = np.random.default_rng(seed)
    dealt: list[list[np.ndarray]] = [[] for _ in range(parties)]
    for label in range(labels):
        own = np.flatnonzero(truth == label)
        generator.shuffle(own)
        shares = generator.dirichlet([CONCENTRATION] * parties)
        cuts = np.round(np.cumsum(shares)[:-1] * len(own)).astype(int)
        for party, images in zip(dealt, np.split(own, cuts), strict=True):
            party.append(images)
    return [np.concatenate(party) for party in dealt]
