"""Training a component: a function of the space, the images with their labels, settings and a seed.

The frozen part of the backbone sees every image once; its output is cached and all solving happens
there.
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
from tangent.training.augmentation import Source, Views
from tangent.training.linearity import departures
from tangent.training.problem import Problem, Solution


@dataclass(frozen=True)
class Progress:
    """How far a training is: `step` of `total` in its phase, features or solve."""

    phase: str
    step: int
    total: int
    loss: float | None = None


@dataclass(frozen=True)
class Fitted:
    """A trained component and how its training went."""

    component: Component
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Found:
    """What solving found, and the sums that the component carries."""

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
) -> Fitted:
    """Train one component; the same arguments give the same bytes on the same machine.

    scratch: an existing folder for the cached activations, left for the caller to remove.

    Raises:
        NonFinite: activations or the solution hold NaN or Inf.
        ValueError: the source has no images, or not as many as labels.
    """
    started = time.monotonic()
    viewed = Views(source, hyperparameters.views)
    if not viewed.labels:
        raise ValueError("the dataset has no images")
    rows = cached(
        scratch / "activations",
        len(viewed.labels),
        viewed.batches(BATCH),
        cacheable(space),
        lambda done: progress(Progress("features", done, len(viewed.labels))),
    )
    problem = Problem(space, rows, viewed.labels, hyperparameters)
    report = lambda step, total, loss: progress(Progress("solve", step, total, loss))  # noqa: E731
    solved = _on_features if space.suffix is None else _in_blocks
    found = solved(problem, seed, report, scratch)
    delta = found.solution.delta
    metrics = {
        "train_accuracy": problem.accuracy(delta),
        "holdout_accuracy": found.holdout_accuracy,
        "l2": problem.hyperparameters.l2,
        **found.solution.stats,
        **departures(problem, delta),
        "environment": environment(space.device),
        "seconds": round(time.monotonic() - started, 3),
    }
    return Fitted(_component(problem, found, seed), metrics)


def _on_features(problem: Problem, seed: int, report: iterative.Report, scratch: Path) -> _Found:
    """At a scope that is linear in fixed features: the penalty is settled by the sums first."""
    measured, asked = cholesky.measured(problem), problem.hyperparameters
    problem.hyperparameters = cholesky.settled(
        measured.everything, problem.labels, problem.base.cpu(), asked
    )
    sums = total([measured.everything], [1 / asked.views])
    if asked.solver == "cholesky":
        solution = cholesky.solve(problem, measured.everything)
        holdout_accuracy = cholesky.holdout_accuracy(problem, measured.kept)
        return _Found(_finite(solution), sums, holdout_accuracy)
    return _Found(_finite(iterative.solve(problem, seed, report, scratch)), sums)


def _in_blocks(problem: Problem, seed: int, report: iterative.Report, scratch: Path) -> _Found:
    """At a scope of blocks: the sums are of what the solved block reads out."""
    solution = _finite(iterative.solve(problem, seed, report, scratch))
    return _Found(solution, block_statistics.measured(problem, solution.delta))


def _finite(solution: Solution) -> Solution:
    """The solution itself.

    Raises:
        NonFinite: it holds NaN or Inf.
    """
    if not all(torch.isfinite(v).all() for v in solution.delta.values()):
        raise NonFinite("the training diverged to NaN or Inf: lower lr or raise l2")
    return solution


def _component(problem: Problem, found: _Found, seed: int) -> Component:
    """The component of a solution, on the CPU; it counts every image once, whatever its views."""
    space, settings, delta = problem.space, problem.hyperparameters, found.solution.delta
    return Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels={name: count // settings.views for name, count in problem.counts.items()},
        head_labels=problem.labels,
        head=delta["head"].to("cpu", torch.float64),
        backbone={k: v.cpu() for k, v in sorted(delta.items()) if k != "head"},
        statistics=found.statistics,
        hyperparameters=settings.as_dict(),
        seed=seed,
    )


def cacheable(space: Space) -> Callable[[Tensor], Tensor]:
    """What the cache keeps of a batch of images."""

    def rows(images: Tensor) -> Tensor:
        images = images.to(space.device, space.dtype)
        kept = space.readout_alone(images) if space.engine is None else space.engine.rows(images)
        if not torch.isfinite(kept).all():
            raise NonFinite("the backbone gives NaN or Inf for some image of the dataset")
        return kept

    return rows
