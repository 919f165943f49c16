"""The exact solution at scopes that are linear in psi, by one Cholesky factorisation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tangent import joint, losses
from tangent.hyperparameters import L2_CHOICES, Hyperparameters
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
    """Both statistics in one pass over the rows; exact sums, so the order is all the same.

    Raises:
        Overflow: the features are too large for exact sums.
    """
    held_out = _held_out(problem)
    kept = everything = _statistics(problem, ~held_out)
    if held_out.any():
        everything = total([kept, _statistics(problem, held_out)], [1.0, 1.0])
    grid = problem.space.grid
    assert grid is not None  # the scope is linear
    grid.check(everything.squares, everything.images)
    return Measured(everything, kept)


def solve(problem: Problem, statistics: Statistics) -> Solution:
    """The minimiser of the square loss (eq. 4) with penalty mu/2 |delta|²."""
    head = head_of(problem, statistics).to(problem.base)
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
    delta = {"head": head_of(problem, kept).to(problem.base)}
    return problem.accuracy(delta, torch.nonzero(_held_out(problem)).flatten())


def plain_head(
    of: Statistics, labels: Sequence[str], base: Tensor, settings: Hyperparameters
) -> Tensor:
    """delta (K, D): eq. (4) with alpha = 1 and penalty mu/2 |delta|², from the statistics alone."""
    ridge = _ridge(of, labels, settings)
    return joint.solve(of.gram, settings.beta * _rows_of(of, labels), base, ridge)


def head_of(problem: Problem, of: Statistics) -> Tensor:
    """delta (K, D): eq. (4) with penalty mu/2 |delta|², whose ridge is c = mu n K / 2."""
    settings, labels = problem.hyperparameters, problem.labels
    if settings.alpha == 1:
        return plain_head(of, labels, problem.base.cpu(), settings)
    ridge = _ridge(of, labels, settings)
    targets = settings.alpha * settings.beta * _rows_of(of, labels)
    return torch.cat(
        [_weighted_row(problem, of, targets, ridge, k) for k in range(len(problem.labels))]
    )


def chosen_l2(problem: Problem, kept: Statistics) -> float:
    """Of L2_CHOICES, the one that answers best for the held-out rows; of equals, the highest.

    The problem's own where nothing can be held out.
    """
    asked = problem.hyperparameters
    best, found = asked.l2, -1.0
    for l2 in L2_CHOICES:
        problem.hyperparameters = replace(asked, l2=l2)
        share = holdout_accuracy(problem, kept)
        if share is not None and share >= found:
            best, found = l2, share
    problem.hyperparameters = asked
    return best


def _ridge(of: Statistics, labels: Sequence[str], settings: Hyperparameters) -> float:
    return settings.l2 * of.images * len(labels) / 2


def _rows_of(of: Statistics, labels: Sequence[str]) -> Tensor:
    """The sums (K, D) of these labels; zero for one without images."""
    sums = of.sums.new_zeros(len(labels), of.sums.shape[1])
    for row, name in enumerate(of.labels):
        sums[labels.index(name)] = of.sums[row]
    return sums


def _weighted_row(
    problem: Problem, of: Statistics, targets: Tensor, ridge: float, k: int
) -> Tensor:
    """Row k where alpha weights the label's own images: their Gram counts alpha times."""
    gram, base = of.gram.clone(), problem.base[k : k + 1].cpu()
    everything = sum(of.counts.values()) == len(problem.rows)
    for index in torch.nonzero(problem.targets == k).flatten().split(ROWS):
        kept = index if everything else index[~_held_out(problem)[index]]
        psi = problem.batch(kept)[0].double()
        gram.add_((psi.T @ psi).cpu(), alpha=problem.hyperparameters.alpha - 1)
    return joint.solve(gram, targets[k : k + 1], base, ridge)


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
    """The statistics of the chosen rows, added up as they come: a Gram matrix takes megabytes.

    On the CPU, where any process can solve from them again and find the same bits.
    """
    summed: list[Statistics] = []
    for index in torch.nonzero(chosen).flatten().split(ROWS):
        names = [problem.row_labels[i] for i in index.tolist()]
        parts = [*summed, measure(problem.batch(index)[0], names).cpu()]
        summed = [total(parts, [1.0] * len(parts))]
    return summed[0]
