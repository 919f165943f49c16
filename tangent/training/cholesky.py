"""The exact solution at scopes linear in psi, by one Cholesky factorisation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import Statistics, measure, total
from tangent.solvers import losses
from tangent.solvers.normal_equations import NormalEquations
from tangent.solvers.ridge import solve as solve_ridge
from tangent.training.holdout import HOLDOUT, held_out
from tangent.training.problem import ROWS, Solution, TrainingProblem


@dataclass(frozen=True)
class Measured:
    """The statistics of all rows, and of the rows that are not held out."""

    everything: Statistics
    kept: Statistics


def measured(problem: TrainingProblem) -> Measured:
    """Both statistics, by one pass over the rows; the sums are exact, so order does not matter.

    Raises:
        Overflow: the features are too large for exact sums.
    """
    mask = _held_out(problem)
    kept = everything = _statistics(problem, ~mask)
    if mask.any():
        everything = total([kept, _statistics(problem, mask)], [1.0, 1.0])
    grid = problem.space.grid
    assert grid is not None  # the scope is linear
    grid.check(everything.squares, everything.images)
    return Measured(everything, kept)


def solve(problem: TrainingProblem, statistics: Statistics) -> Solution:
    """The minimiser of the square loss (eq. 4) with penalty mu/2 |delta|²."""
    head = head_of(problem, statistics, problem.hyperparameters).to(problem.base)
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


def holdout_accuracy(problem: TrainingProblem, kept: Statistics) -> float | None:
    """The accuracy on a tenth of each label's images, by a solution trained without these images.

    None if a label has fewer than ten images, or groups that cannot be parted leave none of it to
    hold out. The component itself is trained on all images.
    """
    settings, mask = problem.hyperparameters, _held_out(problem)
    if min(problem.counts.values()) < HOLDOUT * settings.views:
        return None
    if len(problem.targets[mask].unique()) < len(problem.counts):
        return None
    settings = settled(kept, problem.labels, problem.base.cpu(), settings)
    delta = {"head": head_of(problem, kept, settings).to(problem.base)}
    return problem.accuracy(delta, torch.nonzero(mask).flatten())


def equations(of: Statistics, labels: Sequence[str], settings: Hyperparameters) -> NormalEquations:
    """Eq. (4) with alpha = 1 as normal equations; the statistics count every view of an image."""
    images = of.images
    return NormalEquations(
        gram=of.gram,
        targets=settings.beta * _rows_of(of, labels),
        images=images,
        spread=settings.views * images,
        energy=settings.beta**2 * images,
        penalty=settings.l2 * images,
        chosen=settings.choose_l2,
        rows=images,
    )


def settled(
    of: Statistics,
    labels: Sequence[str],
    base: Tensor,
    settings: Hyperparameters,
    tried: dict[float, float] | None = None,
) -> Hyperparameters:
    """The settings, with l2 chosen by the evidence if they have `choose_l2`.

    tried: as of `NormalEquations.l2`.
    """
    if not settings.choose_l2:
        return settings
    return replace(settings, l2=equations(of, labels, settings).l2(base, tried=tried))


def plain_head(
    of: Statistics, labels: Sequence[str], base: Tensor, settings: Hyperparameters
) -> Tensor:
    """delta (K, D): eq. (4) with alpha = 1 and penalty l2/2 |delta|², from the statistics alone."""
    return equations(of, labels, replace(settings, choose_l2=False)).solve(base)


def head_of(problem: TrainingProblem, of: Statistics, settings: Hyperparameters) -> Tensor:
    """delta (K, D): eq. (4) with penalty l2/2 |delta|², whose ridge is c = l2 n K / 2."""
    labels = problem.labels
    if settings.alpha == 1:
        return plain_head(of, labels, problem.base.cpu(), settings)
    ridge = equations(of, labels, settings).ridge(problem.base)
    targets = settings.alpha * settings.beta * _rows_of(of, labels)
    return torch.cat(
        [_weighted_row(problem, of, targets, ridge, k) for k in range(len(problem.labels))]
    )


def _rows_of(of: Statistics, labels: Sequence[str]) -> Tensor:
    """The sums (K, D) of these labels; zero for a label without images."""
    sums = of.sums.new_zeros(len(labels), of.sums.shape[1])
    for row, name in enumerate(of.labels):
        sums[labels.index(name)] = of.sums[row]
    return sums


def _weighted_row(
    problem: TrainingProblem, of: Statistics, targets: Tensor, ridge: float, k: int
) -> Tensor:
    """Row k of delta if alpha weights the label's own images, whose Gram counts alpha times."""
    gram, base = of.gram.clone(), problem.base[k : k + 1].cpu()
    everything = sum(of.counts.values()) == len(problem.rows)
    for index in torch.nonzero(problem.targets == k).flatten().split(ROWS):
        kept = index if everything else index[~_held_out(problem)[index]]
        psi = problem.batch(kept)[0].double()
        gram.add_((psi.T @ psi).cpu(), alpha=problem.hyperparameters.alpha - 1)
    return solve_ridge(gram, targets[k : k + 1], base, ridge)


def _gradient(problem: TrainingProblem, head: Tensor) -> tuple[Tensor, float]:
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


def _held_out(problem: TrainingProblem) -> Tensor:
    """The mask of held-out rows: those of all views of the held-out images."""
    views = problem.hyperparameters.views
    targets = problem.targets[: len(problem.rows) // views]  # of the images themselves
    return held_out(targets.tolist(), problem.groups).repeat(views)


def _statistics(problem: TrainingProblem, chosen: Tensor) -> Statistics:
    """The statistics of the chosen rows, summed chunk by chunk, as a Gram matrix takes megabytes.

    They lie on the CPU, where any process can solve from them again and get the same bits.
    """
    summed: list[Statistics] = []
    grid = problem.space.grid
    assert grid is not None  # the scope is linear
    for index in torch.nonzero(chosen).flatten().split(ROWS):
        names = [problem.row_labels[i] for i in index.tolist()]
        parts = [*summed, measure(problem.batch(index)[0], names, grid.steps)]
        summed = [total(parts, [1.0] * len(parts))]
    return summed[0]
