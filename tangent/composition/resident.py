"""Resident components: what sums read of components, kept on a device within a number of bytes.

Reading a component from the device's own memory is many times as fast as bringing it there. What is
kept holds no file's map and no statistics. It is overwritten before it is let go, as the device's
allocator would hand the bytes on.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace

import torch

from tangent.components.component import Component
from tangent.components.mapped_tensors import flat
from tangent.composition.delta_sum import split_directions
from tangent.spaces.devices import free_bytes

SHARE = 4  # one part of so many of the memory that is free when a device is first used


class ResidentComponents:
    """Components by their files' hashes, those asked for last; one thread at a time."""

    def __init__(self, most_bytes: int | None = None) -> None:
        """`most_bytes`: of all directions on one device; None: a share of what is free there."""
        self._most_bytes = most_bytes
        self._budgets: dict[torch.device, int] = {}
        self._held: OrderedDict[str, Component] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The bytes of all directions that are held."""
        return sum(_size(component) for component in self._held.values())

    def get(self, sha: str) -> Component | None:
        """Return the component if it is held, as `placed` returned it."""
        if sha in self._held:
            self._held.move_to_end(sha)
        return self._held.get(sha)

    def placed(
        self, sha: str, component: Component, device: torch.device, beside: Collection[str]
    ) -> Component:
        """Return the component with its directions on the device, or as it is if they do not fit.

        Others make room for it, those asked for longest ago first, but none of `beside`, the hashes
        that the same sum needs. The copy has no statistics.
        """
        size, budget = _size(component), self._budget(device)
        if len({value.dtype for value in component.backbone.values()}) != 1:
            return component  # one vector holds one type
        spare = [other for other in self._held if other not in beside]
        freed = sum(_size(self._held[other]) for other in spare)
        if self.nbytes - freed + size > budget:
            return component
        while self.nbytes + size > budget:
            self.forget([spare.pop(0)])
        shapes = {name: value.shape for name, value in component.backbone.items()}
        # A copy even where `to` would give the tensor itself, and with it the file's map.
        vector = flat(component.backbone.values()).to(device, copy=True)
        self._held[sha] = replace(
            component,
            head=component.head.clone(),
            backbone=split_directions(vector, shapes),
            statistics=None,
        )
        return self._held[sha]

    def forget(self, shas: Collection[str]) -> None:
        """Overwrite these components' directions with zeros and let them go."""
        for sha in set(shas) & self._held.keys():
            for value in self._held.pop(sha).backbone.values():
                value.zero_()

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether one of these components is held."""
        return not self._held.keys().isdisjoint(shas)

    def clear(self) -> None:
        """Forget all."""
        self.forget(list(self._held))

    def _budget(self, device: torch.device) -> int:
        if self._most_bytes is not None:
            return self._most_bytes
        if device not in self._budgets:
            self._budgets[device] = free_bytes(device) // SHARE
        return self._budgets[device]


def _size(component: Component) -> int:
    return sum(value.nbytes for value in component.backbone.values())
