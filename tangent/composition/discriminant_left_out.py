"""Scores of training images by the rule `discriminant`, each without the image; no refit.

An image of label y and weight w changes the scatter by one outer product, v = psi - m_y:

    W' = W - k v vᵀ,  k = w n_y / (n_y - w)        m_y' = m_y - w / (n_y - w) v

so R' = (W' + c I)⁻¹ follows by Sherman, Morrison and Woodbury from products of psi and the means.
Equal images under several labels are one change of that rank. The penalty c, the scale and the
noise per image stay those of all images. A label that loses its only image is the least likely.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.solvers.discriminant import Discriminant, LabelSums
from tangent.solvers.ridge import substituted

Removed = Sequence[Sequence[tuple[int, float]]]  # of every image: its labels' rows, with weights


class Shares(NamedTuple):
    """The shares of n images in the sums of r labels each, (n, r); filled up with weight 0."""

    labels: Tensor
    weights: Tensor
    spreads: Tensor


def scores_left_out(of: LabelSums, ridge: float, psi: Tensor, removed: Removed) -> Tensor:
    """Return h (n, K) of training images psi (n, D) float64, each taken out of the sums.

    Raises:
        NonFinite: as `ridge.factor`.
    """
    made, own = Discriminant.of(of, ridge), shares(removed)
    counts = of.counts[own.labels]
    alone = counts <= own.weights
    left = torch.where(alone, 1.0, counts - own.weights)
    steps = torch.where(alone, 0.0, own.weights / left)  # of the means, along v
    spreads = of.spreads[own.labels]
    noise = made.unit_noise * ((spreads - own.spreads) / left**2 - spreads / counts**2)
    scores, moments = _without(made, psi[:, :-1], own.labels, steps, counts)
    moments -= made.unit_noise * of.spreads / of.counts**2
    moments.scatter_add_(1, own.labels, -noise)
    scores = made.scale * (scores - 0.5 * moments)
    gone = torch.zeros_like(scores).scatter_add_(1, own.labels, alone.to(scores)) > 0
    least = scores.masked_fill(gone, torch.inf).amin(1, keepdim=True)
    return torch.where(gone, least, scores)


def _without(
    made: Discriminant, psi: Tensor, labels: Tensor, steps: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return m_lᵀ R' psi and m_lᵀ R' m_l of every label, (n, K), by the moved means."""
    xm, c = psi @ made.moved.T, made.moved @ made.means.T
    xx = (psi * substituted(made.lower, psi.T).T).sum(1)
    xy = xm.gather(1, labels)
    vx, vm = xx[:, None] - xy, xm[:, None, :] - c[labels]
    vv = xx[:, None, None] - xy[:, :, None] - xy[:, None, :]
    vv = vv + c[labels[:, :, None], labels[:, None, :]]
    vy = vm.gather(2, labels[:, None, :].expand_as(vv))
    change = torch.diag_embed(steps * counts)
    middle = torch.linalg.solve(torch.eye(len(vv[0])).to(c) - change @ vv, change)
    x, m = (vx[:, None, :] @ middle)[:, 0], (middle.mT @ vm).mT  # (n, r), (n, K, r)
    scores = xm + (x[:, :, None] * vm).sum(1)
    moments = c.diagonal() + (m.mT * vm).sum(1)
    xv = vx + (x[:, :, None] * vv).sum(1)
    yv = (vy + vy.mT @ middle @ vv).diagonal(dim1=1, dim2=2)
    own = (vv + vv @ middle @ vv).diagonal(dim1=1, dim2=2)
    scores.scatter_add_(1, labels, -steps * xv)
    moments = moments.scatter_add_(1, labels, steps**2 * own - 2 * steps * yv)
    return scores, moments


def shares(removed: Removed) -> Shares:
    """Return the labels' weights of every image, each label once."""
    merged: list[dict[int, list[float]]] = []
    for each in removed:
        own: dict[int, list[float]] = {}
        for label, weight in each:
            own.setdefault(label, []).append(weight)
        merged.append(own)
    size = len(merged), max((len(own) for own in merged), default=1)
    labels = torch.zeros(size, dtype=torch.int64)
    weights, spreads = torch.zeros(2, *size, dtype=torch.float64)
    for row, own in enumerate(merged):
        for column, (label, found) in enumerate(own.items()):
            labels[row, column], weights[row, column] = label, sum(found)
            spreads[row, column] = sum(weight**2 for weight in found)
    return Shares(labels, weights, spreads)
