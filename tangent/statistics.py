"""Sufficient statistics of a dataset under the square loss, for scopes that are linear in psi.

    G = sum of psi psiᵀ        s_l = sum of psi over the images of label l        n_l = their number

They are sums over images, so those of a union are the sums of the parts'. Nothing in them depends
on labels that the dataset does not have, on the penalty, or on the target beta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """float64; `labels` sorted, `sums` and `counts` in their order."""

    gram: Tensor  # (D, D), symmetric
    sums: Tensor  # (K, D)
    counts: dict[str, float]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have images, sorted."""
        return tuple(self.counts)

    @property
    def images(self) -> float:
        """How many images, weighted ones by their weight."""
        return sum(self.counts.values())


def measure(psi: Tensor, labels: Sequence[str]) -> Statistics:
    """The statistics of features (n, D) with one label a row."""
    names = sorted(set(labels))
    column = {name: i for i, name in enumerate(names)}
    psi = psi.to(torch.float64)
    sums = torch.zeros(len(names), psi.shape[1], dtype=torch.float64, device=psi.device)
    sums.index_add_(0, torch.tensor([column[name] for name in labels], device=psi.device), psi)
    upper = (psi.T @ psi).triu()
    gram = upper + upper.triu(1).T  # a product's two triangles may differ in the last bit
    return Statistics(gram, sums, {name: float(sum(x == name for x in labels)) for name in names})


def total(parts: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
    """The weighted sum, taken in the order given; labels are the union."""
    names = sorted({name for part in parts for name in part.labels})
    gram = torch.zeros_like(parts[0].gram)
    counts = dict.fromkeys(names, 0.0)
    for part, weight in zip(parts, weights, strict=True):
        gram.add_(part.gram, alpha=weight)
        for name in part.labels:
            counts[name] += weight * part.counts[name]
    return Statistics(gram, total_sums(parts, weights), counts)


def total_sums(parts: Sequence[Statistics], weights: Sequence[float]) -> Tensor:
    """The `sums` of `total` alone, which are small next to its `gram`."""
    names = sorted({name for part in parts for name in part.labels})
    sums = parts[0].sums.new_zeros(len(names), parts[0].gram.shape[0])
    for part, weight in zip(parts, weights, strict=True):
        for row, name in enumerate(part.labels):
            sums[names.index(name)].add_(part.sums[row], alpha=weight)
    return sums


def pack(gram: Tensor) -> Tensor:
    """The upper triangle, row by row: D (D + 1) / 2 numbers."""
    rows, columns = torch.triu_indices(*gram.shape, device=gram.device)
    return gram[rows, columns]


def unpack(packed: Tensor, width: int) -> Tensor:
    """The symmetric matrix of a packed upper triangle."""
    rows, columns = torch.triu_indices(width, width, device=packed.device)
    gram = packed.new_zeros(width, width)
    gram[rows, columns] = packed
    gram[columns, rows] = packed
    return gram
