"""Iterative solvers on the products J·v and Jᵀ·u: conjugate gradients, L-BFGS and Adam."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.jvp.compiled.replayed import replayed
from tangent.solvers import conjugate_gradients as cg
from tangent.solvers import error_bound, losses
from tangent.solvers.conjugate_gradients import Report, dot, plus
from tangent.training.pooled_problem import Client, PooledProblem
from tangent.training.pooled_system import solve as solve_pooled
from tangent.training.pooled_system import solve_within as solve_pooled_within
from tangent.training.preconditioner import Preconditioner
from tangent.training.problem import Solution, TrainingProblem
from tangent.training.whole_system import WholeSystem


def solve(
    problem: TrainingProblem, seed: int, progress: Report, scratch: Path | None = None
) -> Solution:
    """Solve by the solver of the hyperparameters; `scratch` is a folder for temporary files."""
    if problem.hyperparameters.solver == "cg":
        return conjugate_gradients(problem, progress, scratch)
    if problem.hyperparameters.solver == "lbfgs":
        return lbfgs(problem, progress)
    return adam(problem, seed, progress)


def conjugate_gradients(
    problem: TrainingProblem, progress: Report, scratch: Path | None = None
) -> Solution:
    """Minimise the square loss (eq. 4) with penalty mu/2 |delta|² by conjugate gradients.

    Solves (JᵀΩJ + c I) delta = JᵀΩ(beta Y - f), c = mu n K / 2, from zero, preconditioned, until
    `tolerance` is reached by what `tolerance_of` names: the gradient, or a bound of the error.
    Where no label is weighted (alpha = 1) and the backbone has a tangent, the head is eliminated,
    as in `pooled_problem`.
    """
    settings = problem.hyperparameters
    how: dict[str, Any] = {"max_steps": settings.max_iterations, "tolerance": settings.tolerance}
    if settings.alpha == 1 and problem.space.engine is not None:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            client = Client(problem, 1.0, settings.beta, settings.l2)
            return _solved_pooled(problem, PooledProblem([client], Path(folder)), how, progress)
    system = WholeSystem(problem)
    if settings.tolerance_of == "gradient":
        maps = system.right, system.product, system.precondition
        delta, step, _ = cg.solve(*maps, **how, report=progress)
        return _solution(problem, delta, step)
    ended = error_bound.solve(system, settings.tolerance_of, **how, report=progress)
    return _bounded(_solution(problem, ended.x, ended.steps), ended)


def _solved_pooled(
    problem: TrainingProblem, pooled: PooledProblem, how: dict[str, Any], progress: Report
) -> Solution:
    """Solve for the backbone's directions, with the best head for them."""

    def solution(head: Tensor, backbone: TangentDict, steps: int) -> Solution:
        head = head.to(problem.base.device, problem.space.dtype)
        return _solution(problem, {"head": head} | backbone, steps)

    of = problem.hyperparameters.tolerance_of
    if of == "gradient":
        result = solve_pooled(pooled, **how, report=progress)
        return solution(result.head, result.backbone, result.steps)
    head, ended = solve_pooled_within(pooled, of, **how, report=progress)
    return _bounded(solution(head, ended.x, ended.steps), ended)


def _bounded(solution: Solution, ended: error_bound.Ended) -> Solution:
    """The solution; its metrics have the bound of its error, which decides if it converged."""
    told = {
        "converged": ended.stopped == error_bound.CONVERGED,
        "stopped": ended.stopped,
        "error_bound": ended.bound if math.isfinite(ended.bound) else None,
    }
    return replace(solution, stats=solution.stats | told)


def lbfgs(problem: TrainingProblem, progress: Report) -> Solution:
    """Minimise the objective of any loss by L-BFGS until its gradient has shrunk by `tolerance`."""
    settings = problem.hyperparameters
    # The Hessian of cross-entropy is at most half of JᵀJ/n, that of the square loss 2JᵀJ/(nK).
    slope = 0.5 if settings.loss == "cross_entropy" else 2 / len(problem.labels)
    ridge = settings.l2 * len(problem.rows) / slope
    whitened = _Whitened(problem.zero(), Preconditioner(problem, ridge))
    norms: list[float] = []  # of the gradient, at each evaluation

    def evaluate() -> float:
        value, gradient = _objective(problem, whitened.delta())
        norms.append(cg.norm(gradient).item())
        whitened.set_gradient(gradient)
        return value.item()

    optimizer = torch.optim.LBFGS(
        [whitened.z],
        max_iter=1,
        max_eval=25,  # in the line search
        history_size=20,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    step = 0
    while step < settings.max_iterations:
        before = len(norms)
        value = float(optimizer.step(evaluate))
        step += 1
        progress(step, settings.max_iterations, value)
        if norms[-1] <= settings.tolerance * norms[0] or len(norms) == before:
            break
    return _solution(problem, whitened.delta(), step)


def adam(problem: TrainingProblem, seed: int, progress: Report) -> Solution:
    """Run Adam over shuffled batches, as in the papers (the learning rate falls at 1/2 and 4/5)."""
    settings = problem.hyperparameters
    generator = torch.Generator().manual_seed(seed)
    delta = problem.zero()
    slope = replayed(partial(_slope, problem, delta), problem.recorder)
    optimizer = torch.optim.Adam(delta.values(), lr=settings.lr)
    for epoch in range(settings.epochs):
        drops = (epoch >= settings.epochs / 2) + (epoch >= settings.epochs * 4 / 5)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * 0.1**drops
        total = torch.zeros((), dtype=torch.float64, device=problem.space.device)
        order = problem.placed(torch.randperm(len(problem.rows), generator=generator))
        for index in order.split(settings.batch_size):
            value, *pulled = slope([index])
            for parameter, gradient in zip(delta.values(), pulled, strict=True):
                parameter.grad = gradient
            optimizer.step()
            total += value.double() * len(index)
        progress(epoch + 1, settings.epochs, total.item() / len(problem.rows))
    return _solution(problem, delta, settings.epochs)


def _slope(problem: TrainingProblem, delta: TangentDict, given: Sequence[Tensor]) -> list[Tensor]:
    """The mean loss of the rows at an index, and the objective's gradient for each part of delta.

    Adam changes delta in place, so that this is one step over memory that stays where it is.
    """
    rows, targets = problem.batch(given[0])
    value, gradient = _loss(problem, rows, targets, delta)
    pulled = plus(gradient, 1.0, _pull_of_penalty(problem, delta))
    return [value, *(pulled[name] for name in delta)]


def _loss(
    problem: TrainingProblem, rows: Tensor, targets: Tensor, delta: TangentDict
) -> tuple[Tensor, TangentDict]:
    """The batch's mean loss and its gradient Jᵀ ∂L/∂h, without differentiating through a JVP."""
    settings = problem.hyperparameters
    base, change = problem.outputs(rows, delta)
    if settings.loss == "rsl":
        value, slope = losses.rsl(base + change, targets, settings.alpha, settings.beta)
    else:
        value, slope = losses.cross_entropy(base + change, targets)
    return value, problem.adjoint(rows, slope)


def _pull_of_penalty(problem: TrainingProblem, delta: TangentDict) -> TangentDict:
    """The penalty's gradient."""
    settings = problem.hyperparameters
    norm2 = dot(delta, delta) if settings.penalty == "norm" else 0.0
    return cg.times(losses.penalty_slope(settings.penalty, norm2, settings.l2), delta)


def _solution(problem: TrainingProblem, delta: TangentDict, steps: int) -> Solution:
    """The solution, with its objective and gradient recomputed over all rows.

    It counts as converged up to twice the tolerance, as a recurrence in float32 drifts.
    """
    value, gradient = _objective(problem, delta)
    _, start = _objective(problem, problem.zero())
    steepest = dot(start, start).item() or 1.0
    reduction = math.sqrt(dot(gradient, gradient).item() / steepest)
    return Solution(
        delta,
        {
            "final_loss": value.item(),
            "iterations": steps,
            "gradient_reduction": reduction,
            "converged": reduction <= 2 * problem.hyperparameters.tolerance,
        },
    )


def _objective(problem: TrainingProblem, delta: TangentDict) -> tuple[Tensor, TangentDict]:
    """The objective and its gradient over all rows."""
    settings = problem.hyperparameters
    penalty = losses.squared_penalty if settings.penalty == "squared" else losses.norm_penalty
    value = penalty(dot(delta, delta), settings.l2)
    gradient = _pull_of_penalty(problem, delta)
    for rows, targets in problem.chunks():
        share = len(rows) / len(problem.rows)
        loss, part = _loss(problem, rows, targets, delta)
        value, gradient = value + share * loss.double(), plus(gradient, share, part)
    return value, gradient


class _Whitened:
    """delta = P^(1/2) z with one vector z, in which the curvature is near the identity."""

    def __init__(self, zero: TangentDict, preconditioner: Preconditioner) -> None:
        self.preconditioner = preconditioner
        self.shapes = {name: value.shape for name, value in zero.items()}
        self.z = self._flat(zero).requires_grad_()

    def delta(self) -> TangentDict:
        parts = self.z.detach().split([shape.numel() for shape in self.shapes.values()])
        named = zip(self.shapes.items(), parts, strict=True)
        return self.preconditioner.root({name: part.view(shape) for (name, shape), part in named})

    def set_gradient(self, gradient: TangentDict) -> None:
        """Set the gradient of z from that of delta."""
        self.z.grad = self._flat(self.preconditioner.root(gradient))

    def _flat(self, value: TangentDict) -> Tensor:
        return torch.cat([value[name].flatten() for name in self.shapes])
