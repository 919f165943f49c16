"""Preconditioned conjugate gradients on dictionaries of tensors."""

import math
from collections.abc import Callable

from tangent.components.delta import TangentDict


def solve(
    right: TangentDict,
    product: Callable[[TangentDict], TangentDict],
    precondition: Callable[[TangentDict], TangentDict],
    *,
    max_steps: int,
    tolerance: float,
    scale: float | None = None,
    report: Callable[[int, int, float | None], None],
) -> tuple[TangentDict, int, float]:
    """Solve `product(x) = right` from zero; return x, the steps taken and the relative residual.

    Ends after `max_steps`, or when the residual's norm is below `tolerance` times `scale`, by
    default the norm of `right`.
    """
    x, residual = {name: 0.0 * value for name, value in right.items()}, right
    size = math.sqrt(dot(residual, residual))
    first = size if scale is None else scale
    direction = preconditioned = precondition(residual)
    squared, step = dot(residual, preconditioned), 0
    while step < max_steps and size > tolerance * first:
        curved = product(direction)
        length = squared / dot(direction, curved)
        x = plus(x, length, direction)
        residual = plus(residual, -length, curved)
        preconditioned = precondition(residual)
        previous, squared = squared, dot(residual, preconditioned)
        direction = plus(preconditioned, squared / previous, direction)
        size = math.sqrt(dot(residual, residual))
        step += 1
        report(step, max_steps, size / (first or 1.0))
    return x, step, size / (first or 1.0)


def dot(a: TangentDict, b: TangentDict) -> float:
    """The inner product, summed in float64."""
    return sum((a[name].double() * b[name].double()).sum().item() for name in a)


def plus(a: TangentDict, factor: float, b: TangentDict) -> TangentDict:
    """a + factor b."""
    return {name: a[name] + factor * b[name] for name in a}
