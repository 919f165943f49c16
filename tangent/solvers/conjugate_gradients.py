"""Preconditioned conjugate gradients on dictionaries of tensors.

All scalars but the one that ends the loop stay where the tensors are: a step waits for its device
once, whatever the number of parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.components.delta import TangentDict

Map = Callable[[TangentDict], TangentDict]
Report = Callable[[int, int, float | None], None]  # gets the step, of how many, and how far it is


@dataclass(frozen=True)
class Iterate:
    """The state between two steps."""

    x: TangentDict
    residual: TangentDict  # right - product(x), by a recurrence
    direction: TangentDict  # of the next step
    squared: Tensor  # residual · precondition(residual)

    @property
    def size(self) -> float:
        """The norm of the residual."""
        return norm(self.residual).item()


def solve(
    right: TangentDict,
    product: Map,
    precondition: Map,
    *,
    max_steps: int,
    tolerance: float,
    scale: float | None = None,
    report: Report,
) -> tuple[TangentDict, int, float]:
    """Solve `product(x) = right` from zero; return x, the steps taken and the relative residual.

    Ends after `max_steps`, or when the residual's norm is below `tolerance` times `scale`, by
    default the norm of `right`.
    """
    at, step = begun(zeros(right), right, precondition), 0
    size = at.size
    first = size if scale is None else scale
    while step < max_steps and size > tolerance * first:
        at = stepped(at, product, precondition)
        size = at.size
        step += 1
        report(step, max_steps, size / (first or 1.0))
    return at.x, step, size / (first or 1.0)


def begun(x: TangentDict, residual: TangentDict, precondition: Map) -> Iterate:
    """Return the state in which a search from x begins."""
    direction = precondition(residual)
    return Iterate(x, residual, direction, dot(residual, direction))


def stepped(at: Iterate, product: Map, precondition: Map) -> Iterate:
    """Return the state after one more step."""
    curved = product(at.direction)
    length = at.squared / dot(at.direction, curved)
    x = plus(at.x, length, at.direction)
    residual = plus(at.residual, -length, curved)
    preconditioned = precondition(residual)
    squared = dot(residual, preconditioned)
    direction = plus(preconditioned, squared / at.squared, at.direction)
    return Iterate(x, residual, direction, squared)


def zeros(like: TangentDict) -> TangentDict:
    """The zero of the same shapes."""
    return {name: 0.0 * value for name, value in like.items()}


def dot(a: TangentDict, b: TangentDict) -> Tensor:
    """The inner product, summed in float64; a number on the tensors' device."""
    parts = [(a[name].double() * b[name].double()).sum() for name in a]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def norm(a: TangentDict) -> Tensor:
    """The Euclidean norm, summed in float64; a number on the tensors' device."""
    return torch.sqrt(dot(a, a))


def plus(a: TangentDict, factor: float | Tensor, b: TangentDict) -> TangentDict:
    """a + factor b."""
    scaled = times(factor, b)
    return {name: a[name] + scaled[name] for name in a}


def times(factor: float | Tensor, a: TangentDict) -> TangentDict:
    """factor a, in the type of a."""
    if isinstance(factor, Tensor):
        return {name: factor.to(value.dtype) * value for name, value in a.items()}
    return {name: factor * value for name, value in a.items()}
