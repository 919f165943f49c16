"""The normal equations of the backbone's part of delta, the head eliminated, and their solution.

(J_Bᵀ Lambda P J_B + cI) delta_B = J_Bᵀ Lambda P r,    as in `pooled_problem`
"""

from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.jvp.compiled.replayed import replayed_map
from tangent.solvers import conjugate_gradients, error_bound
from tangent.solvers.conjugate_gradients import Report, dot, norm, plus
from tangent.solvers.error_bound import POWERS, Left
from tangent.training.pooled_problem import PooledProblem
from tangent.training.preconditioner import backbone_spectra


class Optimum(NamedTuple):
    """The head's rows (K, D) float64, the backbone's directions, and the steps taken."""

    head: Tensor
    backbone: TangentDict
    steps: int
    left: float  # the gradient's norm, relative to that of the head's gradient at zero


class Bounded(NamedTuple):
    """The head's rows (K, D) float64, and the end of the search for the backbone's directions."""

    head: Tensor
    ended: error_bound.Ended


class PooledSystem:
    """The normal equations of the backbone's part; the head is the best one for each backbone.

    head: the best one (K, D) float64 for the backbone that `left` was last asked for; first zero's.
    """

    def __init__(self, pooled: PooledProblem) -> None:
        self.pooled, self.ridge = pooled, pooled.ridge
        self.correlations = pooled.correlations(pooled.residuals)
        self._spectra = backbone_spectra(pooled.zero(), pooled.curvature(), pooled.ridge)
        self.right = pooled.pull_back(self.correlations, pooled.residuals)
        self.head = pooled.head(self.correlations)
        self._of_head = (self.head * self.correlations.T).sum()
        self.product = replayed_map(partial(_product, pooled), list(self.right), pooled.recorder)

    def precondition(self, vector: TangentDict) -> TangentDict:
        """The inverse of the model of the layers' curvature, times a direction."""
        return {name: self._spectra[name].times(-1.0, value) for name, value in vector.items()}

    def left(self, x: TangentDict, of: str) -> Left:
        """Look at x anew, as `error_bound.System.left`; the length is of head and backbone.

        Rounding moves the residual, and the head that is best for x.
        """
        residual, head = self.pooled.left(self.correlations, x)
        jittered, correlations = self._jittered
        moved, other = jittered.left(correlations, x)
        noise = norm(plus(moved, -1.0, residual)).item() / self.ridge ** POWERS[of]
        lower, off = self.pooled.factor, other - head
        noise += (off if of == "delta" else off @ lower).norm().item()
        self.head = head
        return Left(residual, self.length(x, residual, of).item(), noise)

    def length(self, x: TangentDict, residual: TangentDict, of: str) -> Tensor:
        """|delta| with the head of the last look, or |delta|_A with the best head for x."""
        if of == "delta":
            squared = dot(x, x) + self.head.square().sum()
        else:  # the first term is the head's part, which no direction of the backbone changes
            squared = self._of_head + dot(x, plus(self.right, -1.0, residual))
        return torch.sqrt(squared.clamp(min=0))

    @cached_property
    def _jittered(self) -> tuple[PooledProblem, Tensor]:
        jittered = self.pooled.jittered()
        return jittered, jittered.correlations(jittered.residuals)


def _product(pooled: PooledProblem, vector: TangentDict) -> TangentDict:
    """The matrix times a direction of the backbone, by one push and one pull."""
    return plus(pooled.pull_back(pooled.push(vector)), pooled.ridge, vector)


def solve(
    pooled: PooledProblem,
    *,
    max_steps: int,
    tolerance: float,
    report: Report,
) -> Optimum:
    """Solve by conjugate gradients from delta_B = 0, preconditioned by the layers' curvature.

    A step is one push and one pull over all rows. Ends after `max_steps`, or when the gradient is
    below `tolerance` times that at zero.
    """
    system = PooledSystem(pooled)
    backbone, steps, left = conjugate_gradients.solve(
        system.right,
        system.product,
        system.precondition,
        max_steps=max_steps,
        tolerance=tolerance,
        scale=system.correlations.norm().item() or 1.0,
        report=report,
    )
    head = pooled.head(system.correlations - pooled.push(backbone))
    return Optimum(head, backbone, steps, left)


def solve_within(
    pooled: PooledProblem,
    of: str,
    *,
    max_steps: int,
    tolerance: float,
    report: Report,
) -> Bounded:
    """Solve likewise, until the error of the whole delta is bounded, as `error_bound.solve`."""
    system = PooledSystem(pooled)
    ended = error_bound.solve(system, of, max_steps=max_steps, tolerance=tolerance, report=report)
    return Bounded(system.head, ended)
