"""RegMean (Jin, Ren, Preotiuc-Pietro & Cheng, 2023): the least squares of each linear layer.

    W = (sum of w_t G_t)⁻¹ sum of w_t G_t W_t,      G_t = alpha XᵀX + (1 - alpha) diag(XᵀX)

with X the layer's inputs over parent t's images and W_t its direction as (in, out): the minimum of
sum of w_t |X W - X W_t|² where alpha is 1. Parameters outside of linear layers are averaged. The
inputs are the base's, which a tangent model's layers see whatever delta is, while the paper's are
each network's own; a convolution is linear in its patches. The head is one of the layers, its
constant feature included. A row that a parent lacks is not counted. Where the inputs do not
determine W, it is the solution nearest to the plain mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tangent.composition.merging.fisher_information import parents_data
from tangent.composition.merging.merge_method import (
    IMAGES,
    Merged,
    MergeInputs,
    MergeMethod,
    Number,
)
from tangent.composition.merging.task_vectors import HEAD, TaskVectors


def regmean(vectors: TaskVectors, grams: list[dict[str, Tensor]], *, alpha: float) -> Tensor:
    """The merged vector (P,) for each parent's XᵀX by block; blocks without one are averaged."""
    held = [vectors.layout.split(each)[HEAD].all(1) for each in vectors.held]

    def merged(name: str, mean: Tensor, own: list[Tensor]) -> Tensor:
        if not all(name in each for each in grams):
            return mean
        rows = torch.stack(held if name == HEAD else [torch.ones(len(mean)).bool()] * len(own))
        parts = [
            (weight * _shrunk(each[name], alpha), value.flatten(1))
            for weight, each, value in zip(vectors.weights, grams, own, strict=True)
        ]
        return _layer(parts, rows, mean.flatten(1))

    return vectors.by_block(merged)


def _shrunk(gram: Tensor, alpha: float) -> Tensor:
    return alpha * gram + (1 - alpha) * torch.diag(gram.diagonal())


def _layer(parts: Sequence[tuple[Tensor, Tensor]], rows: Tensor, mean: Tensor) -> Tensor:
    """The layer (out, in): rows (T, out) that the same parents have share one matrix."""
    found = mean.clone()
    for holders in torch.unique(rows, dim=1).T:
        some = (rows == holders[:, None]).all(0)
        chosen = [part for part, has in zip(parts, holders.tolist(), strict=True) if has]
        total = torch.stack([gram for gram, _ in chosen]).sum(0)
        away = torch.stack([(value[some] - mean[some]) @ gram for gram, value in chosen]).sum(0)
        found[some] = mean[some] + _divided(away, total)
    return found


def _divided(right: Tensor, gram: Tensor) -> Tensor:
    """right · gram⁻¹, of least norm where the Gram matrix is singular."""
    values, vectors = torch.linalg.eigh(gram)
    floor = len(gram) * torch.finfo(gram.dtype).eps * float(values[-1])
    inverse = torch.where(values > floor, 1 / values.where(values > floor, 1.0), 0.0)
    quotient: Tensor = ((right @ vectors) * inverse) @ vectors.T
    return quotient


def _merge(inputs: MergeInputs, *, images: int, alpha: float) -> Merged:
    grams = [parent.grams() for parent in parents_data(inputs, images)]
    return regmean(inputs.vectors, grams, alpha=alpha), {}


METHOD = MergeMethod(
    "regmean",
    _merge,
    "Jin et al. 2023",
    {"images": IMAGES, "alpha": Number(0.9, 0.0, 1.0)},
    weights="positive",
    images="gram",
)
