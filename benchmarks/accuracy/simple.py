"""Simple methods on the backbone's pooled features: the nearest class mean, and a RanPAC-like head.

Both are sums over images, so parties can add theirs up: dealing changes neither. They train nothing
and answer in one pass. Written without the library's statistics and solvers.
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer
from benchmarks.accuracy.case import Pool
from benchmarks.accuracy.gallery import as_images

PROJECTED = 2000  # random features
RIDGES = tuple(10.0**power for power in range(-6, 7, 2))


def answers(pool: Pool) -> Iterator[Answer]:
    """Of both, made once for all cases of the pool."""
    yield pool.once(names.NEAREST_MEAN, lambda: nearest_mean(pool))
    yield pool.once(names.RANDOM_PROJECTION, lambda: random_projection(pool))


def nearest_mean(pool: Pool) -> Answer:
    """The label whose mean feature of length 1 is the nearest."""
    train, test = (unit(features(pool, part)) for part in (pool.train, pool.gallery.test))
    means = class_means(train, pool.gallery.truth[pool.train], len(pool.gallery.labels))
    distances = ((test[:, None, :] - means[None]) ** 2).sum(2)
    return Answer(names.NEAREST_MEAN, torch.from_numpy(-distances))


def random_projection(pool: Pool) -> Answer:
    """Ridge regression on max(0, random projections), as in RanPAC (McDonnell et al. 2023).

    The ridge is the best on the images kept back to choose by.
    """
    generator = np.random.default_rng((2, pool.seed))
    width = features(pool, pool.train[:1]).shape[1]
    projection = generator.standard_normal((width, PROJECTED))
    train, validation, test = (
        np.maximum(features(pool, part) @ projection, 0)
        for part in (pool.train, pool.validation, pool.gallery.test)
    )
    truth = pool.gallery.truth
    wanted = np.eye(len(pool.gallery.labels))[truth[pool.train]]
    heads = [ridge_regression(train, wanted, ridge) for ridge in RIDGES]
    shares = [((validation @ h).argmax(1) == truth[pool.validation]).mean() for h in heads]
    return Answer(names.RANDOM_PROJECTION, torch.from_numpy(test @ heads[int(np.argmax(shares))]))


def features(pool: Pool, numbers: np.ndarray) -> np.ndarray:
    """phi (n, D) in float64."""
    space = pool.gallery.space("head")
    return space.readout(as_images(numbers))[:, :-1].double().numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row at length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def class_means(rows: np.ndarray, truth: np.ndarray, labels: int) -> np.ndarray:
    """Return each label's mean row, (K, D)."""
    return np.stack([rows[truth == label].mean(0) for label in range(labels)])


def ridge_regression(rows: np.ndarray, wanted: np.ndarray, ridge: float) -> np.ndarray:
    """(D, K): the minimiser of |rows·W - wanted|² + ridge |W|²."""
    gram = rows.T @ rows
    gram[np.diag_indices(len(gram))] += ridge
    return np.linalg.solve(gram, rows.T @ wanted)
