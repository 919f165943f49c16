"""Fisher-weighted merging with diagonal Fisher matrices (Matena & Raffel, 2022).

    delta = sum of w_t F_t ⊙ delta_t / sum of w_t F_t

It is the minimum of sum of w_t (delta - delta_t)ᵀ diag(F_t) (delta - delta_t). A tangent model's
Jacobian is that of the base wherever delta is, so under the square loss F_t is the diagonal of the
loss's own curvature JᵀJ, exact up to the choice of images. A row that a parent lacks is not
counted. Where no F_t says anything, there is the plain mean.
"""

import torch
from torch import Tensor

from tangent.merging.task_vectors import Vectors


def fisher(vectors: Vectors, diagonals: Tensor) -> Tensor:
    """The merged vector (P,) for diagonals (T, P), zero where a parent has no entry."""
    weighted = vectors.weights[:, None] * diagonals
    below = weighted.sum(0)
    above = (weighted * vectors.values).sum(0)
    known = below > 0
    return torch.where(known, above / below.where(known, torch.ones_like(below)), vectors.mean())
