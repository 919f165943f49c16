"""Directions of a parameter where images have directions of their own: one for each group of rows.

A parameter has no rows, so its directions stay apart until they meet a value that has: a batch,
or anything computed from one whose first axis still counts the images, or a multiple of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Apart:
    """One direction for each group of images; images of a group lie next to each other."""

    each: Sequence[Tensor]
    sizes: Sequence[int]  # images in each group

    def map(self, operation: Callable[[Tensor], Any]) -> Any:
        """Return the directions of a linear operation's result; of each, if it has several."""
        results = [operation(direction) for direction in self.each]
        if isinstance(results[0], Tensor):
            return Apart(results, self.sizes)
        return [Apart(parts, self.sizes) for parts in zip(*results, strict=True)]

    def rows(self, count: int) -> list[int] | None:
        """Return how many of so many rows belong to each group; None if they are no multiple."""
        times, rest = divmod(count, sum(self.sizes))
        return None if rest or not times else [size * times for size in self.sizes]

    def beside(self, value: Tensor) -> Tensor | None:
        """Return the directions as the tangents of a value's rows, to add or to multiply with it.

        None where they have rows themselves, or more axes than the value.
        """
        counts, axes = self.rows(len(value)), value.ndim
        flat = [_without_rows(direction, axes) for direction in self.each]
        if counts is None or any(direction is None for direction in flat):
            return None
        pairs = zip(flat, counts, strict=True)
        return torch.cat([d.expand(rows, *d.shape[1:]) for d, rows in pairs if d is not None])


def _without_rows(direction: Tensor, axes: int) -> Tensor | None:
    """Return the direction with so many axes, the first of size 1; None if it is not constant."""
    if direction.ndim < axes:
        return direction[(None,) * (axes - direction.ndim)]
    if direction.ndim > axes:
        return None
    constant = direction.shape[0] == 1 or direction.stride(0) == 0
    return direction[:1] if constant else None
