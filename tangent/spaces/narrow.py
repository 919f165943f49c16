"""The part of a space that answers in 16 bits: a copy of its model, rounded once."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from tangent.backbones.casting import cast
from tangent.backbones.loading import Backbone
from tangent.backbones.suffix import Suffix
from tangent.errors import UnsupportedModel
from tangent.jvp import Engine, choose_rounded
from tangent.jvp.choice import Bounds, rounding_bounds
from tangent.jvp.rounded import Rounded

Read = Callable[[nn.Module, Tensor], Tensor]  # the features psi that the head reads, of images


class Narrow:
    """A rounded copy of a model, which answers as the model itself to rounding."""

    engine: Rounded | None = None  # at block scopes

    def __init__(self, backbone: Backbone, kind: torch.dtype) -> None:
        """`kind`: the type of 16 bits."""
        self.kind, self._exact = kind, backbone
        self._rounded = cast(backbone, kind)

    def at_blocks(self, suffix: Suffix, engine: Engine) -> "Narrow":
        """Choose the engine of the copy, by that of the model itself.

        Raises:
            UnsupportedModel: as `choose_rounded`.
        """
        self._names = list(suffix.base)
        self.engine = choose_rounded(self._suffix(), suffix, engine)
        return self

    def reading(self, read: Read, probe: Tensor) -> "Narrow":
        """Read features by this function, once it has been compared on the probe.

        Raises:
            UnsupportedModel: the features overflow, or differ by more than rounding.
        """
        self._read = read
        expected, found = read(self._exact.model, probe), self.readout(probe)
        if (found - expected).norm() <= self.bounds.phi * expected.norm():
            return self
        raise UnsupportedModel(
            f"{self._exact.name} cannot answer in {str(self.kind)[6:]}: its features overflow, or "
            "differ by more than rounding explains; use precision float32"
        )

    def readout(self, images: Tensor) -> Tensor:
        """Return psi (B, D) float32 at a linear scope, not rounded to a grid."""
        return self._read(self._rounded.model, images.to(self.kind)).float()

    @property
    def bounds(self) -> Bounds:
        """The relative differences that rounding explains, of psi and of J·direction."""
        bounds = rounding_bounds(self.kind)
        if self.engine is not None:
            return bounds
        return Bounds(bounds.along, bounds.along)  # maps are standardised: that enlarges rounding

    def over(
        self,
        copied: Callable[[nn.Module], nn.Module],
        made: Callable[[Engine, Suffix], Engine],
    ) -> "Narrow":
        """Return the same over modules that `copied` returns; `made` makes engines over them."""
        found = copy(self)
        found._rounded = replace(self._rounded, model=copied(self._rounded.model))
        if self.engine is not None:
            found.engine = self.engine.over(lambda engine: made(engine, found._suffix()))
        return found

    def _suffix(self) -> Suffix:
        return Suffix(self._rounded, self._names, self._exact.model)
