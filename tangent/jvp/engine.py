"""The interface of the jvp engines, which serve and train a space with backbone directions."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Tangent = dict[str, Tensor]  # parameter name -> direction
Prepared = Any  # a direction as an engine needs it, computed once for all passes


class Answerer(Protocol):
    """phi and its derivative J over the backbone's tangent parameters, at the base parameters.

    A *row* holds all that the engine needs of an image for any direction. Its prefix and primal
    values are computed once.
    """

    name: str  # rules or generic
    reason: str  # for the choice of this engine

    def rows(self, images: Tensor) -> Tensor:
        """Return images (B, 3, S, S) as rows (B, …), which a training caches."""

    def prepare(self, direction: Tangent) -> Prepared:
        """Return the direction in the engine's own form."""

    def push(self, rows: Tensor, prepared: Sequence[Prepared]) -> tuple[Tensor, list[Tensor]]:
        """Return phi (B, width), and J·direction (B, width) for every direction."""

    def push_own(
        self, rows: Tensor, prepared: Sequence[Prepared], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return phi (B, width), and of each row i J·`prepared[own[i]]` (B, width).

        The results are those of `push` of each row alone, but for rounding.
        """


class Engine(Answerer, Protocol):
    """An engine that trainings can use too: it also has Jᵀ."""

    def activation(self, rows: Tensor) -> Tensor:
        """Return the input of the suffix for these rows."""

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        """Return phi and Jᵀ·cotangent, summed over the rows."""


def random_direction(base: Tangent, generator: torch.Generator) -> Tangent:
    """Return a direction about as large as the parameters themselves."""
    return {
        name: torch.randn(p.shape, generator=generator).to(p) * (p.square().mean().sqrt() + 1e-3)
        for name, p in base.items()
    }
