"""Fisher-weighted merging with Kronecker-factored Fisher matrices.

    (sum of w_t F_t) delta = sum of w_t F_t delta_t,      F_t = A_t ⊗ S_t in each layer

The factors are those of Martens & Grosse (2015), the merge by conjugate gradients is that of Tam,
Bansal & Raffel (2024). It is the minimum of sum of w_t (delta - delta_t)ᵀ F_t (delta - delta_t).
Here the head is a layer too, whose inputs are the features; where the parents share all labels and
the square loss, its part is exact. A row that a parent lacks is not counted. The iteration starts
from the plain mean and stays there in directions that no F_t sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tangent.merging.task_vectors import Vectors

SETTLED = 1e-12  # the residual, relative to the first one


@dataclass(frozen=True)
class Kronecker:
    """`scale` times the Kronecker product of matrices over a block's axes; of none, the identity.

    The axes are those of the block seen as (rows, columns) or (out, in, places of a kernel).
    """

    factors: tuple[Tensor, ...]  # float64
    scale: float

    def times(self, value: Tensor) -> Tensor:
        """The product with a block."""
        if not self.factors:
            return self.scale * value
        turned = value.reshape([len(factor) for factor in self.factors])
        for axis, factor in enumerate(self.factors):
            turned = torch.tensordot(turned, factor, dims=([axis], [0])).movedim(-1, axis)
        return self.scale * turned.reshape(value.shape)

    def on_rows(self, rows: Tensor, count: int) -> "Kronecker":
        """The same on these of `count` rows of a larger block, and zero on the others."""
        own, *others = self.factors
        wide = torch.zeros(count, count, dtype=torch.float64)
        wide[rows[:, None], rows] = own
        return Kronecker((wide, *others), self.scale)


def kfac(vectors: Vectors, curvatures: list[dict[str, Kronecker]], *, iterations: int) -> Tensor:
    """The merged vector (P,) for each parent's curvature by block."""
    mean = vectors.layout.split(vectors.mean())
    own = [vectors.layout.split(value) for value in vectors.values]
    weights = vectors.weights.tolist()
    merged = []
    for name, start in mean.items():
        bent = [(w, each[name]) for w, each in zip(weights, curvatures, strict=True)]

        def product(value: Tensor, bent: list[tuple[float, Any]] = bent) -> Tensor:
            return torch.stack([w * one.times(value) for w, one in bent]).sum(0)

        targets = [w * one.times(part[name]) for (w, one), part in zip(bent, own, strict=True)]
        merged.append(_solved(product, torch.stack(targets).sum(0), start, iterations).flatten())
    return torch.cat(merged)


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
