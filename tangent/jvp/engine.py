"""What serves and trains a space that has backbone directions: one interface, several engines."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

Tangent = dict[str, Tensor]  # parameter name -> direction
Prepared = Any  # what an engine makes of a direction, once for all passes


class Engine(Protocol):
    """phi and its derivative J over the backbone's tangent parameters, at the base parameters.

    A *row* is all that the engine needs to know of an image, whatever the direction. Prefix and
    primal values are computed for it once.
    """

    name: str  # rules or generic
    reason: str  # why this one serves this space

    def rows(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) as rows (B, …), which a training caches."""

    def activation(self, rows: Tensor) -> Tensor:
        """What entered the suffix, of these rows."""

    def prepare(self, direction: Tangent) -> Prepared:
        """What depends on the direction only."""

    def push(self, rows: Tensor, prepared: Sequence[Prepared]) -> tuple[Tensor, list[Tensor]]:
        """phi (B, width), and J·direction (B, width) for each of the directions."""

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        """phi and Jᵀ·cotangent, summed over the rows."""
