"""TIES-Merging (Yadav, Tam, Choshen, Raffel & Bansal, 2023): trim, elect a sign, disjoint mean.

    trim     d_t = the share `density` of delta_t's entries that is largest in size, else 0
    elect    s = sign of sum of w_t d_t
    merge    delta = scale · sum of w_t d_t / sum of w_t, over the t whose d_t has the sign s

The paper trims a network without its head; a tangent vector has head rows, which are trimmed
together with the directions. The share is one of the entries that the parent has: a row that it
lacks has no say in the sign and is not counted in the mean. Where the signs are even, there is 0.
"""

import torch
from torch import Tensor

from tangent.composition.merging.merge_method import MEAN_SCALE, MergeMethod, Number, of_vectors
from tangent.composition.merging.task_vectors import TaskVectors, largest, ratio


def ties(vectors: TaskVectors, *, density: float, scale: float) -> Tensor:
    """The merged vector (P,)."""
    return scale * elected_mean(trimmed(vectors, density))


def trimmed(vectors: TaskVectors, density: float) -> TaskVectors:
    """Keep every parent's largest entries in size, zero elsewhere."""
    kept = torch.zeros_like(vectors.values)
    for row, value, held in zip(kept, vectors.values, vectors.held, strict=True):
        count = round(density * int(held.sum()))
        chosen = largest(value.abs().where(held, -1.0), count)
        row[chosen] = value[chosen]
    return vectors.with_values(kept)


def elected_mean(vectors: TaskVectors) -> Tensor:
    """The mean of those entries that have the sign of the sum."""
    sign = vectors.total().sign()
    agreeing = (vectors.values.sign() == sign) & (vectors.values != 0)
    return ratio(vectors.weights @ (vectors.values * agreeing), vectors.weights @ agreeing.double())


METHOD = MergeMethod(
    "ties",
    of_vectors(ties),
    "Yadav et al. 2023",
    {"density": Number(0.2, 0.0, 1.0), "scale": MEAN_SCALE},
    weights="positive",
)
