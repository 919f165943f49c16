"""Prepared directions in memory of their own, which a recorded pass reads at fixed addresses."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from tangent.jvp.engine import Prepared
from tangent.jvp.rounded import Scaled


def tensors_of(prepared: Prepared) -> list[Tensor]:
    """Return the tensors of a direction as any engine prepares it, in a fixed order.

    The rules engine's pairs begin with a tensor of the base, which is not the direction's.
    """
    if isinstance(prepared, Scaled):
        return [*tensors_of(prepared.prepared), prepared.scale]
    if isinstance(prepared, list):
        return [along for _, along in prepared]
    if isinstance(prepared, dict):
        return list(prepared.values())
    if is_dataclass(prepared):
        parts = [getattr(prepared, field.name) for field in fields(prepared)]
        nested = [part if isinstance(part, tuple) else (part,) for part in parts]
        return [tensor for part in nested for tensor in part if tensor is not None]
    raise TypeError(f"a direction of the type {type(prepared).__name__} has no known tensors")


def with_tensors(prepared: Prepared, tensors: Iterator[Tensor]) -> Prepared:
    """Return the direction with these tensors in the place of its own; takes as many as it has."""
    if isinstance(prepared, Scaled):
        return Scaled(with_tensors(prepared.prepared, tensors), next(tensors))
    if isinstance(prepared, list):
        return [(base, next(tensors)) for base, _ in prepared]
    if isinstance(prepared, dict):
        return {name: next(tensors) for name in prepared}

    def instead(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(instead(each) for each in part)
        return None if part is None else next(tensors)

    return type(prepared)(**{f.name: instead(getattr(prepared, f.name)) for f in fields(prepared)})


class Directions:
    """Memory for K directions, one direction a place; `tensors` never move."""

    def __init__(self, like: Sequence[Prepared]) -> None:
        """`like`: K directions whose shapes, types and devices these have; they are the first."""
        self._like = list(like)
        self._places = [[each.clone() for each in tensors_of(one)] for one in like]
        self._held: list[weakref.ref[Tensor] | None] = [None] * len(self._like)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, those of the first direction first."""
        return [tensor for place in self._places for tensor in place]

    def prepared(self, tensors: Sequence[Tensor]) -> list[Prepared]:
        """Return the directions with `tensors`, which are in the order of this object's own."""
        given = iter(tensors)
        return [with_tensors(one, given) for one in self._like]

    def fill(self, place: int, prepared: Prepared) -> None:
        """Copy a direction into a place, unless the place holds it already."""
        tensors = tensors_of(prepared)
        held = self._held[place]
        if held is not None and tensors and held() is tensors[0]:
            return
        for own, given in zip(self._places[place], tensors, strict=True):
            own.copy_(given, non_blocking=True)
        self._held[place] = weakref.ref(tensors[0]) if tensors else None

    def clear(self) -> None:
        """Overwrite every direction with zeros."""
        self._held = [None] * len(self._held)
        for tensor in self.tensors:
            tensor.zero_()
