"""Heads: deltas made ready for passes, and the logits that they give."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tangent.backbones.features import with_constant
from tangent.jvp import Answerer, Prepared


@dataclass(frozen=True)
class Head:
    """A delta made ready: a_l, a_l + delta_l, and the engine's direction of the backbone."""

    base: Tensor
    rows: Tensor
    prepared: Prepared

    def logits(self, psi: Tensor, along: Tensor | None) -> Tensor:
        """Return h (B, K) float64 of psi (B, D); `along`: J phi·delta, None at a linear scope."""
        moved = psi @ self.rows.T
        return moved if along is None else moved + along.double() @ self.base[:, : along.shape[1]].T


def read(
    engine: Answerer, rows: Tensor, prepared: Sequence[Prepared], most: int = 1
) -> tuple[Tensor, list[Tensor]]:
    """Return psi (B, D) float64 and J phi·delta (B, width) along every prepared direction.

    `most`: directions in one pass of the engine, which holds the tangents of all of them.
    """
    phi, pushed = engine.push(rows, prepared[:most])
    for start in range(most, len(prepared), most):
        pushed += engine.push(rows, prepared[start : start + most])[1]
    return with_constant(phi.double()), pushed
