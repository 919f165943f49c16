"""Scores without an image against refits without it, by least squares in numpy."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

import tangent
from tangent.composition.leave_one_out import Copy, scores_without
from tangent.errors import NotLeftOut
from tests.support.models import Source, fitted, source, space

LABELS = ("ant", "bee", "cat")
BETA, L2 = 15.0, 1e-2
DECLARED = ("bee", "owl")


@cache
def pool() -> Source:
    return source(16, [LABELS[(i * i) % 3] for i in range(14)])


# The images of three components. Image 3 is in two of them, and 12 twice in one: as two labels.
PARTS = ([0, 1, 2, 3, 4], [3, 5, 6, 7, 8], [9, 10, 11, 12, 13])
ONCE_MORE = "bee"  # the second label of image 12, which is a cat or an ant by the first


def data(rows: list[int]) -> Source:
    if 12 not in rows:
        return pool().chosen(rows)
    chosen = pool().chosen([*rows, 12])
    return Source(chosen.pixels, [*chosen.labels[:-1], ONCE_MORE])


@cache
def components(scope: str, **given: object) -> tuple[tangent.Component, ...]:
    found = []
    for rows in PARTS:
        with TemporaryDirectory() as scratch:
            where = space("mini", scope, DECLARED)
            found.append(fitted(where, data(rows), Path(scratch), l2=L2, **given).component)
    return tuple(found)


def copies_of(image: int) -> list[Copy]:
    found = [Copy(at, pool().labels[image]) for at, rows in enumerate(PARTS) if image in rows]
    return [*found, Copy(2, ONCE_MORE)] if image == 12 else found


def refit(
    scope: str, parts: dict[int, float], labels: tuple[str, ...], images: float, without: int
) -> np.ndarray:
    """Head rows on psi of the square loss over the weighted parts' images, but one image.

    `labels` are all that the problem knows, and the penalty is that of `images` images.
    """
    where = space("mini", scope, DECLARED)
    base = where.base_rows(labels).numpy()
    rows, targets = [], []
    for at, weight in parts.items():
        for image, name in zip(
            [*PARTS[at], *([12] if 12 in PARTS[at] else [])], data(PARTS[at]).labels, strict=True
        ):
            if image != without:
                psi = where.readout(pool().pixels[image : image + 1])[0].numpy()
                y = BETA * np.array([float(name == each) for each in labels])
                rows.append(weight**0.5 * psi)
                targets.append(weight**0.5 * (y - base @ psi))
    c = len(labels) / 2 * L2 * images
    a = np.vstack([np.array(rows), c**0.5 * np.eye(len(base[0]))])
    b = np.vstack([np.array(targets), np.zeros((len(base[0]), len(labels)))])
    return base + np.linalg.lstsq(a, b, rcond=None)[0].T


def psi_of(scope: str, images: list[int]) -> torch.Tensor:
    return space("mini", scope, DECLARED).readout(pool().pixels[images])


IMAGES = [0, 3, 5, 12, 13]
scopes = pytest.mark.parametrize("scope", ["head", "head2toe"])


@scopes
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 2.0, 1.0), (1.0, 0.0, 3.0)])
def test_joint_scores_are_those_of_a_refit_without_the_image(scope, weights):
    parts = list(zip(components(scope), weights, strict=True))
    psi, copies = psi_of(scope, IMAGES), [copies_of(image) for image in IMAGES]
    labels, scores = scores_without(space("mini", scope, DECLARED), parts, "joint", psi, copies)
    own = {at: weight for at, weight in enumerate(weights) if weight}
    every = (*labels, *(name for name in DECLARED if name not in labels))
    count = sum(weight * len(data(PARTS[at]).labels) for at, weight in own.items())
    for image, row, found in zip(IMAGES, psi, scores, strict=True):
        head = refit(scope, own, every, count, image)[: len(labels)]
        np.testing.assert_allclose(found.numpy(), head @ row.numpy(), rtol=1e-8, atol=1e-8)


@scopes
@pytest.mark.parametrize(
    ("rule", "weights"), [("average", (None, None, None)), ("weighted", (0.5, -2.0, 1.0))]
)
def test_scores_of_a_sum_are_those_of_refits_of_its_components(scope, rule, weights):
    parts = list(zip(components(scope), weights, strict=True))
    psi, copies = psi_of(scope, IMAGES), [copies_of(image) for image in IMAGES]
    where = space("mini", scope, DECLARED)
    labels, scores = scores_without(where, parts, rule, psi, copies)
    shares = [1 / 3 if weight is None else weight for weight in weights]
    for image, row, found in zip(IMAGES, psi, scores, strict=True):
        expected = where.base_rows(labels).numpy() @ row.numpy()
        for at, share in enumerate(shares):
            names = tuple(sorted({*data(PARTS[at]).labels, *DECLARED}))
            head = refit(scope, {at: 1.0}, names, len(data(PARTS[at]).labels), image)
            moved = (head - where.base_rows(names).numpy()) @ row.numpy()
            for name, value in zip(names, moved, strict=True):
                if name in labels:
                    expected[labels.index(name)] += share * value
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-8)


def test_what_is_no_plain_square_loss_is_refused():
    where, psi = space("mini", "head", DECLARED), psi_of("head", [0])
    other = [(each, None) for each in components("head", loss="cross_entropy")]
    with pytest.raises(NotLeftOut, match="rule average needs components of loss rsl"):
        scores_without(where, other, "average", psi, [copies_of(0)])
    scores_without(where, other, "joint", psi, [copies_of(0)])  # which looks at the sums alone
    several = [(each, None) for each in components("head", views=2)]
    with pytest.raises(NotLeftOut, match="several views"):
        scores_without(where, several, "joint", psi, [copies_of(0)])


def test_blocks_are_refused():
    where = space("mini", "last-block", DECLARED)
    with pytest.raises(NotLeftOut, match="scope last-block"):
        scores_without(where, [], "joint", torch.zeros(1, 9), [[Copy(0, "ant")]])
