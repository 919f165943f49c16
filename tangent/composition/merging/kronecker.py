"""Kronecker products of matrices, one for each axis of a block."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kronecker:
    """`scale` times the Kronecker product of matrices over a block's axes; of none, the identity.

    The axes are those of the block seen as (rows, columns) or (out, in, places of a kernel).
    """

    factors: tuple[Tensor, ...]  # float64
    scale: float

    def times(self, value: Tensor) -> Tensor:
        """Return the product with a block."""
        if not self.factors:
            return self.scale * value
        turned = value.reshape([len(factor) for factor in self.factors])
        for axis, factor in enumerate(self.factors):
            turned = torch.tensordot(turned, factor, dims=([axis], [0])).movedim(-1, axis)
        return self.scale * turned.reshape(value.shape)

    def on_rows(self, rows: Tensor, count: int) -> "Kronecker":
        """Return the same product on these rows of a block of `count` rows, zero on the others."""
        own, *others = self.factors
        wide = torch.zeros(count, count, dtype=torch.float64)
        wide[rows[:, None], rows] = own
        return Kronecker((wide, *others), self.scale)
