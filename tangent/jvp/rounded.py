"""Answers of an engine whose model is in 16 bits, to images and directions in 32."""

from collections.abc import Callable, Sequence
from copy import copy
from math import floor, log2, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.jvp.engine import Engine, Prepared, Tangent


class Scaled(NamedTuple):
    """A direction made ready at another size; J of it is divided by the scale again."""

    prepared: Prepared
    scale: Tensor  # (), a power of two, so that no digit is lost


class Rounded:
    """The engine of a model in 16 bits: phi and J·direction come back in float32.

    A small direction would lose its digits in float16, whose smallest normal number is 6e-5. J is
    linear, so each direction is pushed at about the size of the parameters themselves.
    """

    def __init__(self, engine: Engine, base: Tangent, kind: torch.dtype) -> None:
        """`base`: the tangent parameters; `kind`: the type of the engine's model."""
        self._engine, self._kind = engine, kind
        self.name, self.reason = engine.name, engine.reason
        self._size = _norm(base)

    def rows(self, images: Tensor) -> Tensor:
        return self._engine.rows(images.to(self._kind))

    def prepare(self, direction: Tangent) -> Scaled:
        scale = self._scale(direction)
        moved = {name: value * scale for name, value in direction.items()}
        device = next(iter(direction.values())).device
        return Scaled(self._engine.prepare(moved), torch.tensor(scale, device=device))

    def push(self, rows: Tensor, prepared: Sequence[Scaled]) -> tuple[Tensor, list[Tensor]]:
        phi, pushed = self._engine.push(rows, [each.prepared for each in prepared])
        pairs = zip(pushed, prepared, strict=True)
        return phi.float(), [along.float() / each.scale for along, each in pairs]

    def push_own(
        self, rows: Tensor, prepared: Sequence[Scaled], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        phi, along = self._engine.push_own(rows, [each.prepared for each in prepared], own)
        scales = torch.stack([prepared[which].scale for which in own])
        return phi.float(), along.float() / scales.unsqueeze(1)

    def over(self, made: Callable[[Engine], Engine]) -> "Rounded":
        """Return the same around another engine, which `made` makes of this one's."""
        found = copy(self)
        found._engine = made(self._engine)
        return found

    def _scale(self, direction: Tangent) -> float:
        """Return the largest power of two with which it is no larger than the parameters."""
        size = _norm(direction)
        fits = 0 < size < float("inf") and self._size > 0
        return 2.0 ** floor(log2(self._size) - log2(size)) if fits else 1.0


def _norm(tensors: Tangent) -> float:
    squares = [value.double().square().sum() for value in tensors.values()]
    return sqrt(torch.stack(squares).sum().item())
