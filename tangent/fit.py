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

from tangent import blocks, iterative, linear
from tangent.cache import BATCH, cached
from tangent.component import Component
from tangent.environment import environment
from tangent.errors import NonFinite
from tangent.hyperparameters import Hyperparameters
from tangent.locality import departures
from tangent.problem import Problem
from tangent.space import Space
from tangent.statistics import total
from tangent.views import Source, Views


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
    views = hyperparameters.views
    source = Views(source, views)
    labels = source.labels
    if not labels:
        raise ValueError("the dataset has no images")
    rows = cached(
        scratch / "activations",
        len(labels),
        source.batches(BATCH),
        cacheable(space),
        lambda done: progress(Progress("features", done, len(labels))),
    )
    problem = Problem(space, rows, labels, hyperparameters)
    measured = linear.measured(problem) if space.suffix is None else None
    holdout = None
    if measured:
        problem.hyperparameters = hyperparameters = linear.settled(
            measured.everything, problem.labels, problem.base.cpu(), hyperparameters
        )
    if measured and hyperparameters.solver == "cholesky":
        solution = linear.solve(problem, measured.everything)
        holdout = linear.holdout_accuracy(problem, measured.kept)
    else:
        report = lambda step, total, loss: progress(Progress("solve", step, total, loss))  # noqa: E731
        solution = iterative.solve(problem, seed, report, scratch)
    if not all(torch.isfinite(v).all() for v in solution.delta.values()):
        raise NonFinite("the training diverged to NaN or Inf: lower lr or raise l2")
    component = Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels={name: count // views for name, count in problem.counts.items()},
        head_labels=problem.labels,
        head=solution.delta["head"].to(torch.float64),
        backbone={k: v for k, v in sorted(solution.delta.items()) if k != "head"},
        statistics=(
            total([measured.everything], [1 / views])
            if measured
            else blocks.measured(problem, solution.delta)
        ),
        hyperparameters=hyperparameters.as_dict(),
        seed=seed,
    )
    metrics = {
        "train_accuracy": problem.accuracy(solution.delta),
        "holdout_accuracy": holdout,
        "l2": hyperparameters.l2,
        **solution.stats,
        **departures(problem, solution.delta),
        "environment": environment(space.device),
        "seconds": round(time.monotonic() - started, 3),
    }
    return Fitted(component, metrics)


def cacheable(space: Space) -> Callable[[Tensor], Tensor]:
    """What the cache keeps of a batch of images."""

    def rows(images: Tensor) -> Tensor:
        images = images.to(space.device, space.dtype)
        kept = space.readout_alone(images) if space.engine is None else space.engine.rows(images)
        if not torch.isfinite(kept).all():
            raise NonFinite("the backbone gives NaN or Inf for some image of the dataset")
        return kept

    return rows
