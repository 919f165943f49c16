"""The normal equations of one component, its head among the unknowns.

(JᵀΩJ + cI) delta = JᵀΩ(beta Y - f),        c = mu n K / 2
"""

from functools import partial

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.jvp.compiled.replayed import replayed_map
from tangent.solvers import losses
from tangent.solvers.conjugate_gradients import dot, norm, plus
from tangent.solvers.error_bound import POWERS, Left
from tangent.training.preconditioner import Preconditioner
from tangent.training.problem import ROWS, TrainingProblem


class WholeSystem:
    """The system, preconditioned; `ridge` is c."""

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem = problem
        self.ridge = problem.hyperparameters.l2 * len(problem.rows) * len(problem.labels) / 2
        self.right = _pulled_back(problem, None)
        self.precondition = Preconditioner(problem, self.ridge).solve
        recorder = problem.recorder if len(problem.rows) <= ROWS else None
        self.product = replayed_map(
            partial(_product, problem, self.ridge), list(self.right), recorder
        )

    def left(self, x: TangentDict, of: str) -> Left:
        """Look at x anew, as `error_bound.System.left`."""
        residual = self._residual(self.problem, x)
        moved = self._residual(self.problem.jittered(), x)
        noise = norm(plus(moved, -1.0, residual)).item() / self.ridge ** POWERS[of]
        return Left(residual, self.length(x, residual, of).item(), noise)

    def length(self, x: TangentDict, residual: TangentDict, of: str) -> Tensor:
        """|x| or, as Ax = b - residual, |x|_A."""
        squared = dot(x, x if of == "delta" else plus(self.right, -1.0, residual))
        return torch.sqrt(squared.clamp(min=0))

    def _residual(self, problem: TrainingProblem, x: TangentDict) -> TangentDict:
        return plus(_pulled_back(problem, x), -self.ridge, x)


def _product(problem: TrainingProblem, ridge: float, vector: TangentDict) -> TangentDict:
    """v → Jv → ΩJv → JᵀΩJv + cv."""
    settings = problem.hyperparameters
    total = {name: ridge * v for name, v in vector.items()}
    for rows, targets in problem.chunks():
        _, change = problem.outputs(rows, vector)
        _, weight = losses.rsl_target(change, targets, settings.alpha, settings.beta)
        total = plus(total, 1.0, problem.adjoint(rows, weight * change))
    return total


def _pulled_back(problem: TrainingProblem, delta: TangentDict | None) -> TangentDict:
    """JᵀΩ(beta Y - f - J delta), summed over the rows; of delta = 0 for None."""
    settings, zero = problem.hyperparameters, problem.zero()
    total = zero
    for rows, targets in problem.chunks():
        base, change = problem.outputs(rows, delta or zero)
        target, weight = losses.rsl_target(base, targets, settings.alpha, settings.beta)
        missed = target - base if delta is None else target - base - change
        total = plus(total, 1.0, problem.adjoint(rows, weight * missed))
    return total
