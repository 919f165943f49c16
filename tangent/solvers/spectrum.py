"""The spectrum of a sum of outer products, from which every penalty's fit follows.

A sum G over n rows has rank n at most. Where that is far below its width D, its range is found by
multiplying G with a few more than n random vectors (Halko, Martinsson & Tropp 2011, whose error
is that of rounding where the rank is no larger), and G is seen to be nothing else by its trace. One
small eigenproblem then replaces one of D, and a factorisation for each penalty:

    explained(c) = zᵀ (G + cI)⁻¹ z + c |(G + cI)⁻¹ z|² = sum_j w_j² (λ_j + 2c) / (λ_j + c)²
                   with w = Vᵀ z, and 2/c of what z has outside of the range, which is rounding.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tangent.errors import NonFinite
from tangent.solvers.ridge import factor, substituted

FEW = 6  # times as many features as rows, from where on the range is looked for
FURTHER = 8  # random vectors beside one for each row
MISSED = 1e-12  # of the trace, which may lie outside of the range: above its rounding


@dataclass(frozen=True)
class Spectrum:
    """G with its eigenvalues; with the eigenvectors of its range if that is small."""

    gram: Tensor  # (D, D) float64
    values: Tensor  # (r,), those of the range or (D,), ascending
    vectors: Tensor | None  # (D, r)

    @classmethod
    def of(cls, gram: Tensor, rows: float) -> Self:
        """Return the spectrum; `rows` is how many rows the sum is over, as far as is known.

        Raises:
            NonFinite: the statistics contain NaN or Inf.
        """
        if not torch.isfinite(gram.sum()):  # one number that is not makes the sum such a one
            raise NonFinite("the statistics of the features contain NaN or Inf: check the features")
        found = _of_range(gram, int(rows) + FURTHER)
        return cls(gram, torch.linalg.eigvalsh(gram), None) if found is None else cls(gram, *found)

    def degrees_of_freedom(self, ridge: float) -> float:
        """f(c) = tr G (G + cI)⁻¹."""
        return (self.values / (self.values + ridge)).sum().item()

    def explained(self, targets: Tensor, ridge: float) -> float:
        """The sum over z of zᵀd + c |d|² with d = (G + cI)⁻¹ z, z the rows of targets (K, D).

        Raises:
            NonFinite: as `ridge.factor`.
        """
        if self.vectors is None:
            fitted = substituted(factor(self.gram, ridge), targets.T)
            found = (targets.T * fitted).sum() + ridge * fitted.square().sum()
            return float(found.item())
        along = targets @ self.vectors
        outside = (targets - along @ self.vectors.T).square().sum()
        shares = (self.values + 2 * ridge) / (self.values + ridge).square()
        return float(((along.square() @ shares).sum() + 2 / ridge * outside).item())


def _of_range(gram: Tensor, most: int) -> tuple[Tensor, Tensor] | None:
    """Return the eigenvalues and eigenvectors of the range, if so many vectors span it."""
    if FEW * most > len(gram):
        return None
    generator = torch.Generator().manual_seed(0)
    sketch = torch.randn(len(gram), most, generator=generator, dtype=gram.dtype).to(gram.device)
    basis = torch.linalg.qr(gram @ sketch).Q
    inner = basis.T @ gram @ basis
    whole = gram.trace()
    if (whole - inner.trace()).abs() > MISSED * whole.abs():
        return None  # of more rows, or of noise
    values, rotation = torch.linalg.eigh(inner)
    return values.clamp_min(0.0), basis @ rotation
