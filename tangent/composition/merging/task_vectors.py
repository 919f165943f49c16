"""The parents' tangent vectors as one matrix, a row each, in an order that all of them share.

A label that a parent has no head row for is a zero in its row of the matrix, and `held` says that
it is none of its entries: sums may count it, no mean does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from tangent.components.component import Component

HEAD = "head"


@dataclass(frozen=True)
class Layout:
    """The places of the head's rows and of every parameter's direction in a flat vector."""

    labels: tuple[str, ...]  # of the head's rows: the union of the parents', sorted
    shapes: dict[str, torch.Size]  # block -> shape; the head first, then the parameters by name

    @classmethod
    def of(cls, components: Sequence[Component]) -> "Layout":
        """The layout of components of one space."""
        labels = tuple(sorted({name for each in components for name in each.head_labels}))
        head = torch.Size([len(labels), components[0].head.shape[1]])
        backbone = {name: each.shape for name, each in sorted(components[0].backbone.items())}
        return cls(labels, {HEAD: head} | backbone)

    @property
    def size(self) -> int:
        """The number of entries of a vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    @property
    def slices(self) -> dict[str, slice]:
        """Block -> its entries."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            found[name] = slice(start, start + shape.numel())
            start += shape.numel()
        return found

    def rows(self, labels: Sequence[str]) -> Tensor:
        """The head's rows of these labels."""
        place = {name: row for row, name in enumerate(self.labels)}
        return torch.tensor([place[name] for name in labels], dtype=torch.long)

    def flat(self, labels: Sequence[str], blocks: dict[str, Tensor]) -> Tensor:
        """A vector (P,) float64 of blocks whose head has rows for these labels; zero elsewhere."""
        head = torch.zeros(self.shapes[HEAD], dtype=torch.float64)
        head[self.rows(labels)] = blocks[HEAD].detach().cpu().double()
        parts = [blocks[name].detach().cpu().double() for name in self.shapes if name != HEAD]
        return torch.cat([head.flatten(), *(part.flatten() for part in parts)])

    def held(self, labels: Sequence[str]) -> Tensor:
        """Mark the entries (P,) of a parent whose head has rows for these labels."""
        ones = {name: torch.ones(shape) for name, shape in self.shapes.items()}
        ones[HEAD] = ones[HEAD][: len(labels)]
        return self.flat(labels, ones) > 0

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """The blocks of a vector, as views."""
        return {name: vector[at].view(self.shapes[name]) for name, at in self.slices.items()}


@dataclass(frozen=True)
class TaskVectors:
    """T parents with P entries each."""

    layout: Layout
    values: Tensor  # (T, P) float64
    held: Tensor  # (T, P) bool
    weights: Tensor  # (T,) float64

    @classmethod
    def of(cls, components: Sequence[Component], weights: Sequence[float]) -> "TaskVectors":
        """The components' deltas, in the order given."""
        layout = Layout.of(components)
        values = [layout.flat(c.head_labels, {HEAD: c.head} | c.backbone) for c in components]
        held = [layout.held(c.head_labels) for c in components]
        return cls(
            layout,
            torch.stack(values),
            torch.stack(held),
            torch.tensor(list(weights), dtype=torch.float64),
        )

    def with_values(self, values: Tensor) -> "TaskVectors":
        """Return the same parents with other entries."""
        return TaskVectors(self.layout, values, self.held, self.weights)

    def total(self) -> Tensor:
        """Sum of w_t delta_t."""
        return self.weights @ self.values

    def mean(self) -> Tensor:
        """Sum of w_t delta_t over the sum of w_t, of the parents that have the entry."""
        return ratio(self.total(), self.weights @ self.held.double())

    def by_block(self, merged: Callable[[str, Tensor, list[Tensor]], Tensor]) -> Tensor:
        """The vector (P,) of every block as merged from its name, the mean and the parents' own."""
        own, means = [self.layout.split(v) for v in self.values], self.layout.split(self.mean())
        blocks = (merged(name, mean, [each[name] for each in own]) for name, mean in means.items())
        return torch.cat([block.flatten() for block in blocks])


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, and 0 where there is nothing below."""
    nothing = below == 0
    return torch.where(nothing, 0.0, above / torch.where(nothing, 1.0, below))


def largest(values: Tensor, count: int) -> Tensor:
    """Mark the `count` largest entries of a vector; of equal entries, the first."""
    chosen = torch.zeros(len(values), dtype=torch.bool)
    chosen[torch.sort(values, descending=True, stable=True).indices[:count]] = True
    return chosen


def directions_type(components: Sequence[Component]) -> torch.dtype:
    """The type that holds every direction of them all."""
    types = sorted({v.dtype for each in components for v in each.backbone.values()}, key=str)
    return reduce(torch.promote_types, types) if types else torch.float32
