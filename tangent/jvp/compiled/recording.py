"""A recording: one pass for a fixed number of images and directions, fed by copies.

What is said of images holds for rows, the engine's form of them, where a pass begins with those.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tangent.jvp.compiled.directions import Directions
from tangent.jvp.compiled.recorder import Outputs, Recorder
from tangent.jvp.engine import Prepared

ANSWER, ROWS, PUSH = "answer", "rows", "push"  # the parts: both, the first one, the second one
Pass = Callable[[Tensor, Sequence[Tensor]], Outputs]  # of images and the directions' tensors


class Source(Protocol):
    """Passes as an engine runs them, which another thread than the answering one may run."""

    def given(self, size: int, part: str) -> Tensor:
        """Return so many random images on the device, or rows where the part is PUSH."""

    def directions(self, count: int) -> Directions:
        """Return memory for so many directions, with random ones in it."""

    def passed(self, given: Tensor, prepared: Sequence[Prepared], part: str) -> Outputs:
        """Return psi (B, D) float64 and J phi·delta (B, width) along every direction.

        The part ROWS is the rows alone.
        """

    def tolerances(self, outputs: Outputs) -> list[float]:
        """Return the relative error of each output that rounding may explain."""


class Recording:
    """A pass over so many images along so many directions, in memory of its own."""

    def __init__(
        self, images: Tensor, directions: Directions, run: Pass, recorder: Recorder
    ) -> None:
        """`images` and `directions` are the memory that the pass reads from now on."""
        self._images, self._directions = images, directions
        with torch.no_grad():
            self._replay = recorder.capture(lambda: run(images, directions.tensors))

    @torch.no_grad()
    def run(self, images: Tensor, prepared: Sequence[Prepared]) -> Outputs:
        """Return the outputs for these images, at most its own number, along its directions."""
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
