"""A recording: one pass for a fixed number of images and directions, fed by copies."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tangent.jvp.compiled.directions import Directions
from tangent.jvp.compiled.recorder import Outputs, Recorder
from tangent.jvp.engine import Prepared

Pass = Callable[[Tensor, Sequence[Tensor]], Outputs]  # of images and the directions' tensors


class Source(Protocol):
    """Passes as an engine runs them, which another thread than the answering one may run."""

    def images(self, size: int) -> Tensor:
        """Return so many random images on the device."""

    def directions(self, count: int) -> Directions:
        """Return memory for so many directions, with random ones in it."""

    def passed(self, images: Tensor, prepared: Sequence[Prepared]) -> Outputs:
        """Return psi (B, D) float64 and J phi·delta (B, width) along every direction."""

    def tolerances(self, outputs: Outputs) -> list[float]:
        """Return the relative error of each output that rounding may explain."""


class Recording:
    """A pass over `size` images along `count` directions, in memory of its own."""

    def __init__(
        self, images: Tensor, directions: Directions, run: Pass, recorder: Recorder
    ) -> None:
        """`images` and `directions` are the memory that the pass reads from now on."""
        self._images, self._directions = images, directions
        with torch.no_grad():
            self._replay = recorder.capture(lambda: run(images, directions.tensors))

    @torch.no_grad()
    def run(self, images: Tensor, prepared: Sequence[Prepared]) -> Outputs:
        """Return the outputs for these images, at most `size`, along exactly `count` directions."""
        size = len(images)
        self._images[:size].copy_(images, non_blocking=True)
        self._images[size:].zero_()
        for place, one in enumerate(prepared):
            self._directions.fill(place, one)
        return [output[:size].clone() for output in self._replay()]

    def forget(self) -> None:
        """Overwrite the images and directions of the last answer."""
        self._images.zero_()
        self._directions.clear()
