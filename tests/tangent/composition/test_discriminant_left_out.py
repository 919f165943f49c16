"""The discriminant's scores of an image without it, against sums taken anew in numpy."""

import numpy as np
import pytest
import torch

import tangent
from tangent.composition.calibration import calibrated
from tangent.composition.discriminant_left_out import scores_left_out
from tangent.composition.leave_one_out import Copy, scores_without
from tangent.solvers.discriminant import Discriminant, LabelSums
from tests.support.models import fitted, relative, source, space

WIDTH, LABELS, RIDGE = 9, 3, 2.0


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features with the constant, labels and weights; the last two are one image, two labels."""
    draw = np.random.default_rng(seed)
    true = np.array([0] * 9 + [1] * 4 + [2] * 2 + [0, 1])
    x = draw.normal(size=(len(true), WIDTH)) + 2.0 * np.eye(WIDTH)[true] + 1.0
    x[-1] = x[-2]
    return np.c_[x, np.ones(len(x))], true, draw.choice([0.5, 1.0, 2.0], len(true))


def sums_of(psi: np.ndarray, true: np.ndarray, weights: np.ndarray) -> LabelSums:
    onehot = np.eye(LABELS)[true] * weights[:, None]
    parts = (psi.T @ (psi * weights[:, None]), onehot.T @ psi, onehot.sum(0))
    spreads = (onehot**2).sum(0)
    return LabelSums(*(torch.from_numpy(each) for each in (*parts, spreads)))


def scores_of(of: LabelSums, scale: float, noise: float, x: np.ndarray) -> np.ndarray:
    """h written out, with the scale and the noise of an image given."""
    means = (of.sums / of.counts[:, None])[:, :-1].numpy()
    scatter = of.gram[:-1, :-1].numpy() - (of.sums[:, :-1].T.numpy() @ means)
    inverse = np.linalg.inv(scatter + RIDGE * np.eye(WIDTH))
    bias = -0.5 * np.einsum("kd,de,ke->k", means, inverse, means)
    bias += 0.5 * noise * (of.spreads / of.counts**2).numpy()
    return scale * (means @ inverse @ x[:-1] + bias)


def test_the_scores_are_those_of_sums_without_the_image():
    psi, true, weights = images()
    of = sums_of(psi, true, weights)
    made = Discriminant.of(of, RIDGE)
    groups = [[i] for i in range(len(true) - 2)] + [[len(true) - 2, len(true) - 1]]
    removed = [[(int(true[i]), float(weights[i])) for i in group] for group in groups]
    asked = torch.from_numpy(psi[[group[0] for group in groups]])
    found = scores_left_out(of, RIDGE, asked, removed)
    for group, row in zip(groups, found.numpy(), strict=True):
        kept = [i for i in range(len(true)) if i not in group]
        rest = sums_of(psi[kept], true[kept], weights[kept])
        expected = scores_of(rest, made.scale, made.unit_noise, psi[group[0]])
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)


def test_a_label_that_loses_its_only_image_is_the_least_likely():
    psi, true, weights = images()
    kept = [i for i in range(len(true)) if true[i] != 2] + [13]  # one image of label 2
    of = sums_of(psi[kept], true[kept], weights[kept])
    one = scores_left_out(of, RIDGE, torch.from_numpy(psi[[13]]), [[(2, float(weights[13]))]])[0]
    assert torch.isfinite(one).all()
    assert one[2] == one.min()


@pytest.mark.parametrize("weights", [(None, None), (2.0, 0.5)])
def test_a_selection_is_calibrated_by_them(weights, tmp_path):
    where, pool = space("mini", "head2toe"), source(16, ["ant", "bee", "cat"] * 4)
    parts = []
    for rows, weight in zip(([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]), weights, strict=True):
        parts.append((fitted(where, pool.chosen(rows), tmp_path).component, weight))
    psi = where.readout(pool.pixels)
    copies = [[Copy(int(row >= 6), pool.labels[row])] for row in range(12)]
    labels, scores = scores_without(where, parts, "discriminant", psi, copies)
    delta = tangent.compose(where, parts, "discriminant", shas="ab")
    inside = psi.double() @ (where.base_rows(delta.labels) + delta.head).T
    assert labels == delta.labels
    truth = torch.tensor([labels.index(name) for name in pool.labels])
    own = lambda z: z.gather(1, truth[:, None]) - z.mean(1, keepdim=True)  # noqa: E731
    assert own(scores).mean() < own(inside).mean()  # an image speaks for its own label
    assert relative(scores, inside) > 1e-6
    assert calibrated(where, parts, "discriminant", psi, copies).temperature > 0
