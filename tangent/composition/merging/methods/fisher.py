"""Fisher-weighted merging with diagonal Fisher matrices (Matena & Raffel, 2022).

    delta = sum of w_t F_t ⊙ delta_t / sum of w_t F_t

It is the minimum of sum of w_t (delta - delta_t)ᵀ diag(F_t) (delta - delta_t). A tangent model's
Jacobian is that of the base wherever delta is, so under the square loss F_t is the diagonal of the
loss's own curvature JᵀJ, exact up to the choice of images. A row that a parent lacks is not
counted. Where no F_t says anything, there is the plain mean.
"""

import torch
from torch import Tensor

from tangent.composition.merging.fisher_information import parents_data
from tangent.composition.merging.merge_method import IMAGES, Merged, MergeInputs, MergeMethod
from tangent.composition.merging.task_vectors import TaskVectors


def fisher(vectors: TaskVectors, diagonals: Tensor) -> Tensor:
    """The merged vector (P,) for diagonals (T, P), zero where a parent has no entry."""
    weighted = vectors.weights[:, None] * diagonals
    below = weighted.sum(0)
    above = (weighted * vectors.values).sum(0)
    known = below > 0
    return torch.where(known, above / below.where(known, torch.ones_like(below)), vectors.mean())


def _merge(inputs: MergeInputs, *, images: int) -> Merged:
    layout, parents = inputs.layout, parents_data(inputs, images)
    diagonals = [layout.flat(d.component.head_labels, d.diagonal()) for d in parents]
    return fisher(inputs.vectors, torch.stack(diagonals)), {}


METHOD = MergeMethod(
    "fisher",
    _merge,
    "Matena & Raffel 2022",
    {"images": IMAGES},
    weights="positive",
    images="fisher",
)
