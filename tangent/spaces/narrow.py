"""The part of a space that answers in 16 bits: a copy of its model, rounded once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tangent.backbones.casting import cast
from tangent.backbones.loading import Backbone
from tangent.backbones.suffix import Suffix
from tangent.errors import UnsupportedModel
from tangent.jvp import Answerer, Engine, choose_rounded
from tangent.jvp.choice import rounding_bounds

Read = Callable[[nn.Module, Tensor], Tensor]  # the features psi that the head reads, of images


class Narrow:
    """A rounded copy of a model, which answers as the model itself to rounding."""

    engine: Answerer | None = None  # at block scopes

    def __init__(self, backbone: Backbone, kind: torch.dtype) -> None:
        """`kind`: the type of 16 bits."""
        self.kind, self._exact = kind, backbone
        self._rounded = cast(backbone, kind)

    def at_blocks(self, suffix: Suffix, engine: Engine) -> "Narrow":
        """Choose the engine of the copy, by that of the model itself.

        Raises:
            UnsupportedModel: as `choose_rounded`.
        """
        own = Suffix(self._rounded, list(suffix.base), self._exact.model)
        self.engine = choose_rounded(own, suffix, engine)
        return self

    def reading(self, read: Read, probe: Tensor) -> "Narrow":
        """Read features by this function, once it has been compared on the probe.

        Raises:
            UnsupportedModel: the features overflow, or differ by more than rounding.
        """
        self._read = read
        expected, found = read(self._exact.model, probe), self.readout(probe)
        # Maps are standardised, which enlarges their rounding, too.
        if (found - expected).norm() <= rounding_bounds(self.kind).along * expected.norm():
            return self
        raise UnsupportedModel(
            f"{self._exact.name} cannot answer in {str(self.kind)[6:]}: its features overflow, or "
            "differ by more than rounding explains; use precision float32"
        )

    def readout(self, images: Tensor) -> Tensor:
        """Return psi (B, D) float32 at a linear scope, not rounded to a grid."""
        return self._read(self._rounded.model, images.to(self.kind)).float()
