"""Leverage: how new an image is to the images that components were trained on, from their sums.

    h(x) = psi(x)ᵀ (G + c I)⁻¹ psi(x) (eq. 6),        G = sum of G_t, every component once

c is the penalty of the problem that rule `joint` solves for these components. Of an image that is
among those of G itself, m times, the leverage once it is taken out is h / (1 - m h), exactly
(Sherman and Morrison).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.composition.compose import pooled
from tangent.composition.joint import all_base_rows
from tangent.solvers.ridge import factor
from tangent.spaces.space import Space

BLOCKS = 8


class Leverage:
    """The leverage of any image, by products in float32.

    The inverse of the Cholesky factor is lower triangular. Its rows are kept in blocks without most
    of the zeros: for one image, reading the numbers takes longer than multiplying them.
    """

    def __init__(self, lower: Tensor, device: torch.device) -> None:
        """`lower`: the Cholesky factor of G + c I."""
        identity = torch.eye(len(lower), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        ends = [len(lower) * (block + 1) // BLOCKS for block in range(BLOCKS)]
        self._blocks = [
            inverse[start:end, :end].to(device, torch.float32).contiguous()
            for start, end in zip([0, *ends], ends, strict=False)
        ]

    def of(self, psi: Tensor) -> Tensor:
        """Return h (n,) float64 of features psi (n, D)."""
        psi = psi.to(self._blocks[0])
        parts = [(psi[:, : rows.shape[1]] @ rows.T).square().sum(1) for rows in self._blocks]
        return torch.stack(parts).double().sum(0).cpu()

    @property
    def nbytes(self) -> int:
        """The bytes in memory."""
        return sum(rows.nbytes for rows in self._blocks)


def curvature(space: Space, components: Sequence[Component]) -> Tensor:
    """Return the lower Cholesky factor of G + c I, the components' pooled curvature.

    Raises:
        NoStatistics: a component that carries none.
        NonFinite: as `ridge.factor`.
    """
    problem = pooled(space, [(component, 1.0) for component in components])
    labels = sorted({name for component in components for name in component.labels})
    return factor(problem.gram, problem.ridge(all_base_rows(space, labels)))


def leverages(lower: Tensor, psi: Tensor) -> Tensor:
    """Return h (n,) of features psi (n, D) in float64, under the curvature L Lᵀ."""
    half: Tensor = torch.linalg.solve_triangular(lower, psi.double().cpu().T, upper=False)
    return half.square().sum(0)


def left_out(found: Tensor, weights: Tensor) -> Tensor:
    """Return h / (1 - weight h) of images whose own share of G is taken out."""
    # An image that alone spans a direction leaves c there, which rounding must not make 0.
    return found / (1 - weights * found).clamp_min(torch.finfo(torch.float64).eps)
