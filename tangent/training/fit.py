"""Training a component: a function of the space, the images with their labels, settings and a seed.

The frozen part of the backbone sees every image once. Its output is cached, and the solvers work on
the cache.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import Statistics, total
from tangent.errors import NonFinite
from tangent.reproducibility import environment
from tangent.space import Space
from tangent.training import block_statistics, cholesky, iterative
from tangent.training.activation_cache import BATCH, cached
from tangent.training.augmentation import AugmentedSource, Source
from tangent.training.linearity import linearisation_errors
from tangent.training.problem import Solution, TrainingProblem


@dataclass(frozen=True)
class Progress:
    """The progress of a training: `step` of `total` in its phase, `features` or `solve`."""

    phase: str
    step: int
    total: int
    loss: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """A trained component and the metrics of its training."""

    component: Component
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Solved:
    """A solution, and the statistics that the component carries."""

    solution: Solution
    statistics: Statistics
    holdout_accuracy: float | None = None


def fit(
    space: Space,
    source: Source,
    hyperparameters: Hyperparameters,
    *,
    seed: int = 0,
    scratch: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainingResult:
    """Train one component; the same arguments give the same bytes on the same machine.

    scratch: an existing folder for the cached activations, left for the caller to remove.

    Raises:
        NonFinite: activations or the solution hold NaN or Inf.
        ValueError: the source has no images, or not as many as labels.
    """
    started = time.monotonic()
    problem = _cached_problem(space, source, hyperparameters, scratch, progress)
    report = lambda step, total, loss: progress(Progress("solve", step, total, loss))  # noqa: E731
    solver = _solve_on_features if space.suffix is None else _solve_in_blocks
    result = solver(problem, seed, report, scratch)
    delta = result.solution.delta
    metrics = {
        "train_accuracy": problem.accuracy(delta),
        "holdout_accuracy": result.holdout_accuracy,
        "l2": problem.hyperparameters.l2,
        **result.solution.stats,
        **linearisation_errors(problem, delta),
        "environment": environment(space.device),
        "seconds": round(time.monotonic() - started, 3),
    }
    return TrainingResult(_component(problem, result, seed), metrics)


def _cached_problem(
    space: Space,
    source: Source,
    hyperparameters: Hyperparameters,
    scratch: Path,
    progress: Callable[[Progress], None],
) -> TrainingProblem:
    """Return the training problem of the images, with its rows cached in `scratch`."""
    augmented = AugmentedSource(source, hyperparameters.views)
    count = len(augmented.labels)
    if not count:
        raise ValueError("the dataset has no images")
    rows = cached(
        scratch / "activations",
        count,
        augmented.batches(BATCH),
        row_computation(space),
        lambda done: progress(Progress("features", done, count)),
    )
    return TrainingProblem(space, rows, augmented.labels, hyperparameters)


def _solve_on_features(
    problem: TrainingProblem, seed: int, report: iterative.Report, scratch: Path
) -> _Solved:
    """Solve at a scope that is linear in fixed features; the statistics settle the penalty."""
    measured, settings = cholesky.measured(problem), problem.hyperparameters
    problem.hyperparameters = cholesky.settled(
        measured.everything, problem.labels, problem.base.cpu(), settings
    )
    sums = total([measured.everything], [1 / settings.views])
    if settings.solver == "cholesky":
        solution = cholesky.solve(problem, measured.everything)
        holdout_accuracy = cholesky.holdout_accuracy(problem, measured.kept)
        return _Solved(_finite(solution), sums, holdout_accuracy)
    return _Solved(_finite(iterative.solve(problem, seed, report, scratch)), sums)


def _solve_in_blocks(
    problem: TrainingProblem, seed: int, report: iterative.Report, scratch: Path
) -> _Solved:
    """Solve at a block scope; the statistics are those of the solved block's features."""
    solution = _finite(iterative.solve(problem, seed, report, scratch))
    return _Solved(solution, block_statistics.measured(problem, solution.delta))


def _finite(solution: Solution) -> Solution:
    """Return the solution unchanged.

    Raises:
        NonFinite: it holds NaN or Inf.
    """
    if not all(torch.isfinite(v).all() for v in solution.delta.values()):
        raise NonFinite("the training diverged to NaN or Inf: lower lr or raise l2")
    return solution


def _component(problem: TrainingProblem, result: _Solved, seed: int) -> Component:
    """The component of a solution, on the CPU; every image counts once, however it is augmented."""
    space, settings, delta = problem.space, problem.hyperparameters, result.solution.delta
    return Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels={name: count // settings.views for name, count in problem.counts.items()},
        head_labels=problem.labels,
        head=delta["head"].to("cpu", torch.float64),
        backbone={k: v.cpu() for k, v in sorted(delta.items()) if k != "head"},
        statistics=result.statistics,
        hyperparameters=settings.as_dict(),
        seed=seed,
    )


def row_computation(space: Space) -> Callable[[Tensor], Tensor]:
    """Return the function that computes the cached rows of a batch of images."""

    def rows(images: Tensor) -> Tensor:
        images = images.to(space.device, space.dtype)
        kept = space.readout_alone(images) if space.engine is None else space.engine.rows(images)
        if not torch.isfinite(kept).all():
            raise NonFinite("the backbone gives NaN or Inf for some image of the dataset")
        return kept

    return rows
