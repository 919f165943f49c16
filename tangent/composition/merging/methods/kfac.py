"""Fisher-weighted merging with Kronecker-factored Fisher matrices.

    (sum of w_t F_t) delta = sum of w_t F_t delta_t,      F_t = A_t ⊗ S_t in each layer

The factors are those of Martens & Grosse (2015), the merge by conjugate gradients is that of Tam,
Bansal & Raffel (2024). It is the minimum of sum of w_t (delta - delta_t)ᵀ F_t (delta - delta_t).
Here the head is a layer too, whose inputs are the features; where the parents share all labels and
the square loss, its part is exact. A row that a parent lacks is not counted. The iteration starts
from the plain mean and stays there in directions that no F_t sees.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tangent.composition.merging.fisher_information import parents_data
from tangent.composition.merging.kronecker import Kronecker
from tangent.composition.merging.merge_method import (
    IMAGES,
    Merged,
    MergeInputs,
    MergeMethod,
    Number,
)
from tangent.composition.merging.task_vectors import HEAD, TaskVectors

SETTLED = 1e-12  # the residual, relative to the first one


def kfac(
    vectors: TaskVectors, curvatures: list[dict[str, Kronecker]], *, iterations: int
) -> Tensor:
    """The merged vector (P,) for each parent's curvature by block."""
    weights = vectors.weights.tolist()

    def merged(name: str, mean: Tensor, own: list[Tensor]) -> Tensor:
        bent = [(w, each[name]) for w, each in zip(weights, curvatures, strict=True)]

        def product(value: Tensor) -> Tensor:
            return torch.stack([w * one.times(value) for w, one in bent]).sum(0)

        targets = [w * one.times(part) for (w, one), part in zip(bent, own, strict=True)]
        return _solved(product, torch.stack(targets).sum(0), mean, iterations)

    return vectors.by_block(merged)


def _solved(
    product: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, iterations: int
) -> Tensor:
    """x of product(x) = target by conjugate gradients from the start."""
    x, residual = start, target - product(start)
    direction, squared = residual, float((residual * residual).sum())
    goal = SETTLED**2 * squared
    for _ in range(iterations):
        if squared <= goal:
            break
        bent = product(direction)
        curved = float((direction * bent).sum())
        if curved <= 0:  # rounding: no curvature is left in this direction
            break
        x = x + squared / curved * direction
        residual = residual - squared / curved * bent
        previous, squared = squared, float((residual * residual).sum())
        direction = residual + squared / previous * direction
    return x


def _merge(inputs: MergeInputs, *, images: int, iterations: int) -> Merged:
    layout, curvatures = inputs.layout, []
    for parent in parents_data(inputs, images):
        curvature = parent.kronecker()
        rows = layout.rows(parent.component.head_labels)
        curvature[HEAD] = curvature[HEAD].on_rows(rows, len(layout.labels))
        curvatures.append(curvature)
    return kfac(inputs.vectors, curvatures, iterations=iterations), {}


METHOD = MergeMethod(
    "kfac",
    _merge,
    "Tam et al. 2024; Martens & Grosse 2015",
    {"images": IMAGES, "iterations": Number(100, 1, 10_000)},
    weights="positive",
    images="fisher",
)
