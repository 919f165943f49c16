"""Conjugate gradients that end when the error of the solution is bounded, not its residual alone.

Training minimises a quadratic whose matrix A = JᵀΩJ + cI has no eigenvalue below the ridge c. With
g = b - A delta the residual and e = delta* - delta the error, A e = g, and so

    |e| ≤ |g| / c                        in the Euclidean norm         (`delta`)
    |e|_A = sqrt(gᵀA⁻¹g) ≤ |g| / √c      in the objective's own norm   (`logits`), eq. 10

with |v|_A² = vᵀAv = |Ω^(1/2) J v|² + c |v|²: the squares of the logits' changes over all images,
and the penalty. If |e| ≤ E, then |delta*| ≥ |delta| - E, and the relative error is at most
E / (|delta| - E). A problem from which the head was eliminated has the same bounds for the whole
delta: its matrix is A's Schur complement S, and eᵀSe = |e|_A² for the best head.

A residual that is carried along by a recurrence falls without end, that of x does not: in float32
products have an error. So the bound takes the residual from x anew, and adds to it how far the
residual moves if every number of the rows is moved by a rounding error (`Left.noise`).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.solvers.conjugate_gradients import Iterate, Report, begun, stepped, zeros
from tangent.solvers.conjugate_gradients import norm as vector_norm

CONVERGED, STAGNATED, EXHAUSTED = "converged", "stagnated", "max_iterations"
POWERS = {"delta": 1.0, "logits": 0.5}  # of c in the bound, by the norm
NOISY = 0.9  # of the allowed error: less is left to the residual than it is worth
HALVED = 0.75  # of a fresh residual at the one before, when the recurrence has halved


class Left(NamedTuple):
    """A fresh look at x: what is left to solve, and how well its numbers are known."""

    residual: TangentDict
    length: float  # of the whole delta, in the norm of the criterion
    noise: float  # a bound of the error by rounding, in the same norm


class System(Protocol):
    """A linear system with a symmetric matrix; `ridge` is at most its smallest eigenvalue."""

    right: TangentDict
    ridge: float

    def product(self, vector: TangentDict) -> TangentDict:
        """Return the matrix times the vector."""

    def precondition(self, vector: TangentDict) -> TangentDict:
        """Return about the inverse of the matrix times the vector."""

    def length(self, x: TangentDict, residual: TangentDict, norm: str) -> Tensor:
        """Return |delta| of x in the norm; of an eliminated head, as it was at the last `left`."""

    def left(self, x: TangentDict, norm: str) -> Left:
        """Return what is left at x, in the norm `delta` or `logits`."""


@dataclass(frozen=True)
class Ended:
    """The result of a search: x, and why the search ended."""

    x: TangentDict
    steps: int
    stopped: str  # converged, stagnated or max_iterations
    bound: float  # of the relative error; inf where it is not below 1


def solve(
    system: System,
    norm: str,
    *,
    max_steps: int,
    tolerance: float,
    report: Report,
) -> Ended:
    """Solve the system from zero until the relative error is at most `tolerance` in the norm.

    Ends as `converged` if the bound says so; as `stagnated` if rounding leaves no hope of it: the
    noise alone is above the tolerance, or more steps did not halve the residual of x; else after
    `max_steps`. Every search that ends has its bound from a fresh residual.
    """
    scale, share = system.ridge ** POWERS[norm], tolerance / (1 + tolerance)
    at, step = begun(zeros(system.right), system.right, system.precondition), 0
    size, length = _looked_at(system, at, norm)
    most, before = (
        float("inf"),
        float("inf"),
    )  # of the residual: at the next fresh look, at the last
    while True:
        if step == max_steps or not size > min(most, share * scale * length):  # so NaN ends it too
            left = system.left(at.x, norm)
            fresh = vector_norm(left.residual).item()
            error, allowed = fresh / scale + left.noise, share * left.length
            bound = _relative(error, left.length)
            if error <= allowed:
                return Ended(at.x, step, CONVERGED, bound)
            if step == max_steps:
                return Ended(at.x, step, EXHAUSTED, bound)
            if left.noise >= NOISY * allowed or not fresh <= HALVED * before:
                return Ended(at.x, step, STAGNATED, bound)
            most, before = 0.5 * min(size, scale * (allowed - left.noise)), fresh
            if fresh > 2 * size:  # the recurrence has drifted from x
                at = begun(at.x, left.residual, system.precondition)
        at = stepped(at, system.product, system.precondition)
        step += 1
        size, length = _looked_at(system, at, norm)
        report(step, max_steps, _relative(size / scale, length))


def _looked_at(system: System, at: Iterate, norm: str) -> tuple[float, float]:
    """The norms of residual and delta, by one wait for the device."""
    both = vector_norm(at.residual), system.length(at.x, at.residual, norm)
    size, length = torch.stack(both).tolist()
    return size, length


def _relative(error: float, length: float) -> float:
    """The bound of |e| / |delta*| by E and |delta|."""
    if error == 0:
        return 0.0
    return error / (length - error) if error < length else float("inf")
