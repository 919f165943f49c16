"""Relatives on frozen features: class means, and ridge regressions on features made of them.

RanPAC projects the features at random (McDonnell et al. 2023), LayUP takes several layers (Ahrens
et al. 2023), AFL the features themselves (He et al. 2025), whose law of aggregation is their sum.
All are sums over images, so parties can add theirs up: dealing changes none. They train nothing
and answer in one pass. Written without the library's statistics and solvers. Every ridge is the
best on the images kept back to choose by.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer
from benchmarks.accuracy.case import Pool
from benchmarks.accuracy.gallery import as_images
from tangent.backbones.blocks import depths

PROJECTED = 2000  # random features
LAYERS = 4  # the last ones
RIDGES = tuple(10.0**power for power in range(-6, 7, 2))


def answers(pool: Pool) -> Iterator[Answer]:
    """Of all, made once for all cases of the pool."""
    yield pool.once(names.NEAREST_MEAN, lambda: nearest_mean(pool))
    for name, width in zip(names.PROJECTIONS, names.WIDTHS, strict=True):
        yield pool.once(name, partial(random_projection, pool, width, name))
    yield pool.once(names.LAYERS, lambda: layers(pool))
    yield pool.once(names.ANALYTIC, lambda: analytic(pool))


def nearest_mean(pool: Pool) -> Answer:
    """The label whose mean feature of length 1 is the nearest."""
    train, test = (unit(features(pool, part)) for part in (pool.train, pool.gallery.test))
    means = class_means(train, pool.gallery.truth[pool.train], len(pool.gallery.labels))
    distances = ((test[:, None, :] - means[None]) ** 2).sum(2)
    return Answer(names.NEAREST_MEAN, torch.from_numpy(-distances))


def random_projection(
    pool: Pool, projected: int = PROJECTED, name: str = names.RANDOM_PROJECTION
) -> Answer:
    """Ridge regression on max(0, random projections)."""
    generator = np.random.default_rng((2, pool.seed))
    width = features(pool, pool.train[:1]).shape[1]
    projection = generator.standard_normal((width, projected))
    return regressed(
        pool, name, lambda numbers: np.maximum(features(pool, numbers) @ projection, 0)
    )


def layers(pool: Pool) -> Answer:
    """Ridge regression on the means of the last maps, and on the pooled features."""
    gallery = pool.gallery

    def means(images: Tensor) -> Tensor:
        pooled, maps = depths(gallery.backbone.model, images)
        return torch.cat([pooled, *(each.flatten(2).mean(2) for each in maps[-LAYERS:])], 1)

    rows = gallery.rows("means of layers", means)
    return regressed(pool, names.LAYERS, lambda numbers: constant(rows[numbers].double().numpy()))


def analytic(pool: Pool) -> Answer:
    """Ridge regression on the pooled features."""
    return regressed(pool, names.ANALYTIC, lambda numbers: constant(features(pool, numbers)))


def constant(rows: np.ndarray) -> np.ndarray:
    """The rows with a 1 at their ends."""
    return np.concatenate([rows, np.ones((len(rows), 1))], 1)


def regressed(pool: Pool, name: str, rows: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """The answer of a ridge regression on the rows of images."""
    parts = pool.train, pool.validation, pool.gallery.test
    train, validation, test = (rows(part) for part in parts)
    truth = pool.gallery.truth
    wanted = np.eye(len(pool.gallery.labels))[truth[pool.train]]
    heads = [ridge_regression(train, wanted, ridge) for ridge in RIDGES]
    shares = [((validation @ h).argmax(1) == truth[pool.validation]).mean() for h in heads]
    return Answer(name, torch.from_numpy(test @ heads[int(np.argmax(shares))]))


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
    few = len(rows) < rows.shape[1]  # then (RᵀR + cI)⁻¹Rᵀ = Rᵀ(RRᵀ + cI)⁻¹ is less work
    gram = rows @ rows.T if few else rows.T @ rows
    gram[np.diag_indices(len(gram))] += ridge
    if few:
        return rows.T @ np.linalg.solve(gram, wanted)
    return np.linalg.solve(gram, rows.T @ wanted)
