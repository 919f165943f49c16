"""Preconditioned conjugate gradients on deltas."""

import math
from collections.abc import Callable

from tangent.components.delta import TangentDict


def solve(
    right: TangentDict,
    product: Callable[[TangentDict], TangentDict],
    precondition: Callable[[TangentDict], TangentDict],
    *,
    most: int,
    tolerance: float,
    scale: float | None = None,
    report: Callable[[int, int, float | None], None],
) -> tuple[TangentDict, int, float]:
    """x of `product(x) = right`, from zero: x, the steps taken and what is left of the residual.

    Ends after `most` steps, or when the residual's norm is below `tolerance` times `scale`, which
    is the first residual's unless given.
    """
    found, residual = {name: 0.0 * value for name, value in right.items()}, right
    size = math.sqrt(dot(residual, residual))
    first = size if scale is None else scale
    direction = towards = precondition(residual)
    squared, step = dot(residual, towards), 0
    while step < most and size > tolerance * first:
        curved = product(direction)
        length = squared / dot(direction, curved)
        found = plus(found, length, direction)
        residual = plus(residual, -length, curved)
        towards = precondition(residual)
        previous, squared = squared, dot(residual, towards)
        direction = plus(towards, squared / previous, direction)
        size = math.sqrt(dot(residual, residual))
        step += 1
        report(step, most, size / (first or 1.0))
    return found, step, size / (first or 1.0)


def dot(a: TangentDict, b: TangentDict) -> float:
    """The inner product, summed in float64."""
    return sum((a[name].double() * b[name].double()).sum().item() for name in a)


def plus(a: TangentDict, factor: float, b: TangentDict) -> TangentDict:
    """a + factor b."""
    return {name: a[name] + factor * b[name] for name in a}
