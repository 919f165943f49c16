"""The exact solution at scopes that are linear in psi, by one Cholesky factorisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tangent import joint, losses
from tangent.problem import ROWS, Problem
from tangent.solution import Solution
from tangent.statistics import Statistics, measure, total

HOLDOUT = 10  # every tenth image of a label is held out once, to measure


@dataclass(frozen=True)
class Measured:
    """The statistics of all rows, and of those that are not held out to measure."""

    everything: Statistics
    kept: Statistics


def measured(problem: Problem) -> Measured:
    """Both statistics in one pass over the rows, summed chunk by chunk in their order."""
    held_out = _held_out(problem)
    kept = _statistics(problem, ~held_out)
    if not held_out.any():
        return Measured(kept, kept)
    return Measured(total([kept, _statistics(problem, held_out)], [1.0, 1.0]), kept)


def solve(problem: Problem, statistics: Statistics) -> Solution:
    """The minimiser of the square loss (eq. 4) with penalty mu/2 |delta|²."""
    head = _head(problem, statistics)
    gradient, loss = _gradient(problem, head)
    start, _ = _gradient(problem, torch.zeros_like(head))
    reduction = (gradient.norm() / start.norm().clamp_min(1e-300)).item()
    stats = {
        "final_loss": loss,
        "iterations": 1,
        "gradient_reduction": reduction,
        "converged": reduction <= problem.hyperparameters.tolerance,
    }
    return Solution({"head": head}, stats)


def holdout_accuracy(problem: Problem, kept: Statistics) -> float | None:
    """Accuracy on every tenth image of each label, by a solution that has not seen them.

    None where some label has fewer than ten images. The component itself is trained on all of them.
    """
    if min(problem.counts.values()) < HOLDOUT * problem.hyperparameters.views:
        return None
    delta = {"head": _head(problem, kept)}
    return problem.accuracy(delta, torch.nonzero(_held_out(problem)).flatten())


def _head(problem: Problem, of: Statistics) -> Tensor:
    """delta (K, D): eq. (4) with penalty mu/2 |delta|², whose ridge is c = mu n K / 2."""
    settings = problem.hyperparameters
    ridge = settings.l2 * of.images * len(problem.labels) / 2
    sums = torch.zeros_like(problem.base)
    for row, name in enumerate(of.labels):
        sums[problem.labels.index(name)] = of.sums[row]
    targets = settings.alpha * settings.beta * sums
    if settings.alpha == 1:
        return joint.solve(of.gram, targets, problem.base, ridge)
    return torch.cat(
        [_weighted_row(problem, of, targets, ridge, k) for k in range(len(problem.labels))]
    )


def _weighted_row(
    problem: Problem, of: Statistics, targets: Tensor, ridge: float, k: int
) -> Tensor:
    """Row k where alpha weights the label's own images: their Gram counts alpha times."""
    gram = of.gram.clone()
    everything = sum(of.counts.values()) == len(problem.rows)
    for index in torch.nonzero(problem.targets == k).flatten().split(ROWS):
        kept = index if everything else index[~_held_out(problem)[index]]
        psi = problem.batch(kept)[0].double()
        gram.add_(psi.T @ psi, alpha=problem.hyperparameters.alpha - 1)
    return joint.solve(gram, targets[k : k + 1], problem.base[k : k + 1], ridge)


def _gradient(problem: Problem, head: Tensor) -> tuple[Tensor, float]:
    """The gradient of the objective in float64, and the objective."""
    settings = problem.hyperparameters
    norm2 = (head**2).sum().item()
    gradient = settings.l2 * head
    value = losses.squared_penalty(norm2, settings.l2)
    for psi, targets in problem.chunks():
        psi = psi.double()
        loss, slope = losses.rsl(
            psi @ (problem.base + head).T, targets, settings.alpha, settings.beta
        )
        share = len(psi) / len(problem.rows)
        gradient, value = gradient + share * (slope.T @ psi), value + share * loss.item()
    return gradient, value


def _held_out(problem: Problem) -> Tensor:
    """Which rows are held out to measure: of each label, every tenth in order."""
    views = problem.hyperparameters.views
    targets = problem.targets[: len(problem.rows) // views]  # of the images themselves
    held_out = torch.zeros(len(targets), dtype=torch.bool)
    for column in targets.unique():
        held_out[torch.nonzero(targets == column).flatten()[HOLDOUT - 1 :: HOLDOUT]] = True
    return held_out.repeat(views)


def _statistics(problem: Problem, chosen: Tensor) -> Statistics:
    """The statistics of the chosen rows, added up as they come: a Gram matrix takes megabytes."""
    summed: list[Statistics] = []
    for index in torch.nonzero(chosen).flatten().split(ROWS):
        names = [problem.row_labels[i] for i in index.tolist()]
        parts = [*summed, measure(problem.batch(index)[0], names)]
        summed = [total(parts, [1.0] * len(parts))]
    return summed[0]
