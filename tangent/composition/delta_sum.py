"""Exact sums of deltas: components are added and removed, the sum is divided into a delta.

Head rows add by label name, directions by parameter. After any changes the sum depends on its
present components, and on nothing else; a label for which no component has a row is gone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.components.mapped_tensors import flat
from tangent.composition.exact_sum import (
    HOST,
    Accumulator,
    check_bound,
    grid_parts,
    summing_device,
)
from tangent.errors import BadComponent

Weighted = Sequence[tuple[Component, float]]


def _dtype(component: Component) -> torch.dtype:
    """Return the smallest type that holds all directions of the component."""
    types = sorted({value.dtype for value in component.backbone.values()}, key=str)
    return reduce(torch.promote_types, types) if types else torch.float32


def split_directions(directions: Tensor, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Return views of the flat directions by parameter."""
    pieces = directions.split([shape.numel() for shape in shapes.values()])
    return {
        name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


class DeltaSum:
    """Sums of lambda·delta over components of one space.

    With `kept`, the sums can be changed again and again: every change costs the bytes of the
    components added or removed, however many are in the sums. They then hold 8 bytes a parameter
    (16 for float64).
    """

    def __init__(self, width: int, *, kept: bool = True, device: torch.device = HOST) -> None:
        """`device`: of the sums of directions and of the deltas' directions; heads' are HOST's.

        The bytes are the same on every device; one that cannot sum exactly is left for HOST.
        """
        self.kept, self.device = kept, device
        self._head = HeadSum(width)
        self._dtypes: set[torch.dtype] = set()
        self._shapes: dict[str, torch.Size] = {}
        self._backbone: Accumulator | None = None

    def change(self, added: Weighted, removed: Weighted = (), *, divisor: float = 1.0) -> Delta:
        """Return the sum after the change, over the divisor, as a delta.

        `removed` must be in the sum, with the same weights. After an error the sum is undefined.

        Raises:
            Overflow: numbers too large for exact sums.
            BadComponent: a component of another precision than those in the sum.
        """
        dtypes = {_dtype(component) for component, _ in [*added, *removed]}
        if self._backbone is None:
            self._backbone = self._begin(added[0][0], dtypes)
        elif len(dtypes | self._dtypes) > 1:
            raise BadComponent("components of several precisions are composed from nothing only")
        dtype, device = self._backbone.dtype, self._backbone.device
        terms = [
            [(flat(part.backbone.values()).to(device, dtype), weight) for part, weight in of]
            for of in (added, removed)
        ]
        directions = self._backbone.change(*terms, divisor=divisor)
        labels, head = self._head.change(added, removed, divisor=divisor)
        return Delta(labels, head, split_directions(directions, self._shapes))

    def _begin(self, first: Component, dtypes: set[torch.dtype]) -> Accumulator:
        self._dtypes = dtypes
        self._shapes = {name: value.shape for name, value in first.backbone.items()}
        size = sum(shape.numel() for shape in self._shapes.values())
        dtype = reduce(torch.promote_types, sorted(dtypes, key=str))
        device = summing_device(self.device, dtype)
        return Accumulator(size, dtype, kept=self.kept, device=device)


class HeadSum:
    """Exact sums of head rows (float64) by label."""

    def __init__(self, width: int) -> None:
        self._rows: tuple[str, ...] = ()  # labels that some component has a row for, sorted
        self._held: Counter[str] = Counter()  # components with a row of the label
        self._ranked: Counter[str] = Counter()  # components with images of the label
        self._limbs = [torch.zeros(0, width, dtype=torch.float64) for _ in range(2)]
        self._bounds = 0.0
        self._parts = 0

    def change(
        self, added: Weighted, removed: Weighted, *, divisor: float
    ) -> tuple[tuple[str, ...], Tensor]:
        """Return the labels that have images, and their rows over the divisor."""
        for component, _ in added:
            self._held.update(component.head_labels)
            self._ranked.update(component.labels.keys())
        self._keep_rows(sorted(self._held))
        for sign, changed in ((1, added), (-1, removed)):
            for component, weight in changed:
                self._add(component, weight, sign)
        check_bound(self._bounds, self._parts, torch.float64)
        for component, _ in removed:
            self._held.subtract(component.head_labels)
            self._ranked.subtract(component.labels.keys())
        self._held, self._ranked = +self._held, +self._ranked
        self._keep_rows(sorted(self._held))
        labels = tuple(sorted(self._ranked))
        place = self._places(labels)
        return labels, (self._limbs[0][place] + self._limbs[1][place]).div_(divisor)

    def _add(self, component: Component, weight: float, sign: int) -> None:
        """Add a component, or remove it with sign -1; the sums are exact in any order of rows."""
        value = component.head.detach().cpu().to(torch.float64) * weight
        self._bounds += sign * (float(value.abs().max()) if value.numel() else 0.0)
        self._parts += sign
        place = self._places(component.head_labels)
        for limb, part in zip(self._limbs, grid_parts(value), strict=True):
            limb.index_add_(0, place, part, alpha=sign)

    def _places(self, labels: Iterable[str]) -> Tensor:
        row = {name: i for i, name in enumerate(self._rows)}
        return torch.tensor([row[name] for name in labels], dtype=torch.long)

    def _keep_rows(self, labels: list[str]) -> None:
        """Lay the rows out for these labels, with zeros for new labels."""
        if tuple(labels) == self._rows:
            return
        kept = [name for name in labels if name in set(self._rows)]
        source = self._places(kept)
        row = {name: i for i, name in enumerate(labels)}
        target = torch.tensor([row[name] for name in kept], dtype=torch.long)
        moved = [limb.new_zeros(len(labels), limb.shape[1]) for limb in self._limbs]
        for new, old in zip(moved, self._limbs, strict=True):
            new[target] = old[source]
        self._rows, self._limbs = tuple(labels), moved
