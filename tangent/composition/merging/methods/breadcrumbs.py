"""Model Breadcrumbs (Davari & Belilovsky, 2024): in each layer, drop the smallest and the largest.

    delta = scale · sum of w_t m_t ⊙ delta_t

m_t is 0 at the share `smallest` of a layer's entries that is smallest in size and at the share
`largest` that is largest. A layer is one parameter, or all head rows of the parent together; rows
that a parent lacks are no entries of it and add nothing.
"""

from typing import Any

import torch
from torch import Tensor

from tangent.composition.merging.merge_method import SCALE, MergeMethod, Number, of_vectors
from tangent.composition.merging.task_vectors import TaskVectors


def breadcrumbs(vectors: TaskVectors, *, smallest: float, largest: float, scale: float) -> Tensor:
    """Return the scaled sum (P,) of the entries that are left."""
    kept = torch.zeros_like(vectors.values)
    for row, value, held in zip(kept, vectors.values, vectors.held, strict=True):
        for at in vectors.layout.slices.values():
            index = held[at].nonzero().flatten() + at.start
            index = index[_between(value[index].abs(), smallest, largest)]
            row[index] = value[index]
    return scale * vectors.with_values(kept).total()


def _between(sizes: Tensor, smallest: float, largest: float) -> Tensor:
    """Mark the entries that are neither among the smallest nor among the largest."""
    order = torch.sort(sizes, stable=True).indices
    return order[round(smallest * len(order)) : len(order) - round(largest * len(order))]


def _fault(settings: dict[str, Any]) -> str | None:
    if settings["smallest"] + settings["largest"] > 1:
        return "smallest and largest together are above 1: they are shares of a layer"
    return None


METHOD = MergeMethod(
    "breadcrumbs",
    of_vectors(breadcrumbs),
    "Davari & Belilovsky 2024",
    {"smallest": Number(0.85, 0.0, 1.0), "largest": Number(0.01, 0.0, 1.0), "scale": SCALE},
    fault=_fault,
)
