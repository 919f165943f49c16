"""Groups: the rows of a batch in which each has a direction of its own, ordered by direction."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.jvp.engine import Answerer, Prepared


class Groups(NamedTuple):
    """Rows in an order in which those along one direction lie next to each other."""

    which: list[int]  # the directions that rows have, ascending
    sizes: list[int]  # rows along each of them
    order: Tensor  # the place that each row came from

    def places(self) -> list[tuple[int, Tensor]]:
        """Return every direction with the places of its rows."""
        return list(zip(self.which, self.order.split(self.sizes), strict=True))

    def back(self, ordered: Tensor) -> Tensor:
        """Return the rows of a result in the order of the batch."""
        found = torch.empty_like(ordered)
        found[self.order] = ordered
        return found


def groups_of(own: Sequence[int], device: torch.device) -> Groups:
    """Return the groups of rows of which the i-th has the direction `own[i]`."""
    which = sorted(set(own))
    places = [[at for at, each in enumerate(own) if each == one] for one in which]
    order = torch.tensor([at for group in places for at in group], device=device)
    return Groups(which, [len(group) for group in places], order)


def push_by_groups(
    engine: Answerer, rows: Tensor, prepared: Sequence[Prepared], own: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return `push_own` by a pass for each direction."""
    groups = groups_of(own, rows.device)
    found = [engine.push(rows[places], [prepared[which]]) for which, places in groups.places()]
    phi, along = torch.cat([phi for phi, _ in found]), torch.cat([d for _, (d,) in found])
    return groups.back(phi), groups.back(along)
