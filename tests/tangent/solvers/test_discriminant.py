"""The linear discriminant from sums: scikit-learn's, and what it adds for uneven labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tangent.solvers.discriminant import CAUTION, LabelSums, head_rows
from tests.support.models import relative


def drawn(seed: int, counts: list[int], width: int, distance: float = 2.0):
    """Features (N, D) with one covariance around one mean a label; the labels; the sampler."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) / np.sqrt(width) + np.eye(width)
    means = distance * generator.normal(size=(len(counts), width)) / np.sqrt(width)

    def sample(each: list[int]) -> tuple[np.ndarray, np.ndarray]:
        true = np.repeat(np.arange(len(each)), each)
        return (means[true] + generator.normal(size=(len(true), width))) @ mix + 3.0, true

    return *sample(counts), sample


def sums_of(x: np.ndarray, true: np.ndarray, weight: float = 1.0) -> LabelSums:
    psi = torch.from_numpy(np.c_[x, np.ones(len(x))])
    onehot = torch.eye(int(true.max()) + 1, dtype=torch.float64)[torch.from_numpy(true)]
    counts = onehot.sum(0)
    return LabelSums(
        weight * psi.T @ psi, weight * onehot.T @ psi, weight * counts, weight**2 * counts
    )


def scores(rows: torch.Tensor, x: np.ndarray) -> np.ndarray:
    return np.c_[x, np.ones(len(x))] @ rows.numpy().T


@pytest.mark.parametrize("shrinkage", [0.01, 0.5])
def test_with_even_labels_it_is_the_discriminant_of_scikit_learn(shrinkage):
    """Up to the scale, and to what all labels have in common."""
    x, true, sample = drawn(0, [30, 30, 30], 6)
    theirs = LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage, priors=[1 / 3] * 3)
    theirs.fit(x, true)
    centred = x - np.stack([x[true == k].mean(0) for k in range(3)])[true]
    covariance = centred.T @ centred / len(x)
    ridge = len(x) * shrinkage / (1 - shrinkage) * np.trace(covariance) / 6
    rows = head_rows(sums_of(x, true), ridge)
    shrunk = covariance + ridge / len(x) * np.eye(6)
    share = np.trace(covariance @ np.linalg.inv(shrunk)) / len(x)
    unseen = sample([5, 5, 5])[0]
    expected = theirs.decision_function(unseen) * (1 - shrinkage) * (1 - share) ** 2
    found = scores(rows, unseen)
    centre = lambda z: z - z.mean(1, keepdims=True)  # noqa: E731
    assert relative(torch.from_numpy(centre(found)), torch.from_numpy(centre(expected))) <= 1e-9


@pytest.mark.parametrize(("width", "ridge"), [(4, 1e-6), (60, 3.0), (200, 30.0)])
def test_rare_labels_are_answered_as_often_as_common_ones(width, ridge):
    """Without the last term, images of the rare label are called common, as its mean is noisy."""
    gaps, uncorrected = [], []
    for seed in range(12):
        x, true, sample = drawn(seed, [80, 4], width, distance=3.0)
        of = sums_of(x, true)
        unseen, wanted = sample([200, 200])
        rows = head_rows(of, ridge)
        plain = rows.clone()  # as of means without noise
        plain[:, -1] = -0.5 * (rows[:, :-1] * (of.sums / of.counts[:, None])[:, :-1]).sum(1)
        for each, into in ((rows, gaps), (plain, uncorrected)):
            right = scores(each, unseen).argmax(1) == wanted
            into.append(right[wanted == 0].mean() - right[wanted == 1].mean())
    assert abs(np.mean(gaps)) <= 0.16
    assert abs(np.mean(gaps)) <= max(0.5 * abs(np.mean(uncorrected)), 0.03)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), weight=st.floats(0.01, 100.0))
def test_the_scale_of_weights_changes_nothing(seed, weight):
    x, true, _ = drawn(seed, [7, 3, 1], 5)
    one = head_rows(sums_of(x, true), 0.5)
    other = head_rows(sums_of(x, true, weight), 0.5 * weight)
    assert relative(other, one) <= 1e-8


def test_one_image_of_each_label_is_compared_by_distance():
    """There is no scatter then: the nearest image's label answers."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    unseen = np.random.default_rng(1).normal(size=(50, 3))
    found = scores(head_rows(sums_of(x, np.arange(4)), 1.0), unseen).argmax(1)
    nearest = ((unseen[:, None] - x) ** 2).sum(2).argmin(1)
    assert (found == nearest).all()


def test_images_worth_less_than_their_freedom_leave_numbers_finite():
    """Weights so uneven that the images are worth one: the share is bounded, not above 1."""
    x, true, _ = drawn(3, [20, 20], 8)
    of = sums_of(x, true)
    rows = head_rows(replace(of, spreads=of.spreads * 30), 1e-9)
    assert torch.isfinite(rows).all()
    assert 1 / CAUTION < 1
