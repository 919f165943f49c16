"""Rule `joint` at block scopes, from the stored images: the pooled optimum in a few passes.

Conjugate gradients on the pooled problem, from delta_B = 0, preconditioned by the Kronecker model
of the backbone's curvature; the head is exact at every step. A pass is one push and one pull over
the cached rows of all images. The result depends on the parts alone: no earlier solution is its
starting point.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import TangentDict
from tangent.components.hyperparameters import Hyperparameters
from tangent.composition.compose import pooled as pooled_sums
from tangent.composition.joint import all_base_rows
from tangent.errors import BadWeight, NonFinite
from tangent.spaces.space import Space
from tangent.training.activation_cache import BATCH, cached
from tangent.training.augmentation import AugmentedSource, Source
from tangent.training.fit import Progress, row_computation
from tangent.training.pooled_problem import Client, PooledProblem
from tangent.training.pooled_system import Optimum, solve
from tangent.training.problem import TrainingProblem
from tangent.training.room import Room, run_in_room

PASSES = 8
Part = tuple[Component, float | None, Source]  # a component, its weight (0 or more), its images


@dataclass(frozen=True)
class Refined:
    """The joint optimum: head rows (of `labels`), directions, and the metrics of the solve."""

    labels: tuple[str, ...]  # of all parts and the declared ones, sorted
    counts: dict[str, int]  # images of each label that has any
    head: Tensor  # (K, D) float64
    backbone: TangentDict
    metrics: dict[str, Any]


def refine(
    space: Space,
    parts: Sequence[Part],
    *,
    passes: int = PASSES,
    tolerance: float = 1e-6,
    scratch: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Refined:
    """Train jointly on the images of all parts; an image counts with the weight of its part.

    Every image keeps the target beta of its component's training, as in `compose.pooled`. The sums
    are taken in the order of the parts. Stops before `passes` if the gradient has shrunk by
    `tolerance`.

    Raises:
        BadWeight: a weight is below 0, or none is above 0.
        FingerprintMismatch, BadComponent: a part does not belong to this space.
        NonFinite: activations or the solution hold NaN or Inf.
    """
    started = time.monotonic()
    counted = _counted(parts)
    for component, _, _ in counted:
        space.check(component)
    l2 = _chosen_l2(space, counted)

    def solved(room: Room) -> tuple[tuple[str, ...], Optimum]:
        clients = _clients(space, counted, l2, scratch, room, progress)
        return clients[0].problem.labels, solve(
            PooledProblem(clients, scratch),
            max_steps=passes,
            tolerance=tolerance,
            report=lambda step, total, left: progress(Progress("solve", step, total, left)),
        )

    labels, optimum = run_in_room(space.device, solved)
    if not all(torch.isfinite(v).all() for v in [optimum.head, *optimum.backbone.values()]):
        raise NonFinite("refining diverged to NaN or Inf: raise l2 of the components' trainings")
    counts = sum((Counter(source.labels) for _, _, source in counted), Counter[str]())
    return _refined(labels, optimum, counts, seconds=time.monotonic() - started)


def _refined(
    labels: tuple[str, ...], optimum: Optimum, counts: Counter[str], *, seconds: float
) -> Refined:
    """The result of a solve, on the CPU."""
    metrics = {
        "passes": optimum.steps,
        "gradient_reduction": optimum.left,
        "images": sum(counts.values()),
        "seconds": round(seconds, 3),
    }
    return Refined(
        labels=labels,
        counts=dict(sorted(counts.items())),
        head=optimum.head.cpu(),
        backbone={name: value.cpu() for name, value in sorted(optimum.backbone.items())},
        metrics=metrics,
    )


def _counted(parts: Sequence[Part]) -> list[tuple[Component, float, Source]]:
    """The parts whose weight is above 0, with their weights as floats; None means 1."""
    weighted = [(c, 1.0 if w is None else float(w), source) for c, w, source in parts]
    weights = [weight for _, weight, _ in weighted]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise BadWeight("refining needs weights of at least 0, and one above")
    return [part for part in weighted if part[1]]


def _chosen_l2(space: Space, parts: Sequence[tuple[Component, float, Source]]) -> float | None:
    """The penalty that the pooled sums choose, as for rule `joint`; None if a part has a number."""
    if not all(part.hyperparameters.get("choose_l2") is True for part, _, _ in parts):
        return None
    if not all(part.statistics for part, _, _ in parts):
        return None
    labels = sorted({name for part, _, _ in parts for name in part.labels})
    problem = pooled_sums(space, [(part, weight) for part, weight, _ in parts])
    return problem.l2(all_base_rows(space, labels))


def _clients(
    space: Space,
    parts: Sequence[tuple[Component, float, Source]],
    l2: float | None,
    scratch: Path,
    room: Room,
    progress: Callable[[Progress], None],
) -> list[Client]:
    """The problem of every part on the labels of all parts, with its rows cached.

    `l2`: the penalty of all parts; None: each has its own.
    """
    labels = sorted({name for _, _, source in parts for name in source.labels})
    settings = [Hyperparameters.stored(space.scope, part.hyperparameters) for part, _, _ in parts]
    total = sum(len(p[2].labels) * own.views for p, own in zip(parts, settings, strict=True))
    done, clients = 0, []
    for at, ((_, weight, source), own) in enumerate(zip(parts, settings, strict=True)):
        augmented = AugmentedSource(source, own.views)

        def advance(count: int, before: int = done) -> None:
            progress(Progress("features", before + count, total))

        path = scratch / f"activations-{at}"
        count, batches = len(augmented.labels), augmented.batches(BATCH)
        rows = cached(path, count, batches, row_computation(space), advance, room)
        done += len(rows)
        problem = TrainingProblem(space, rows, augmented.labels, own, labels, room=room)
        clients.append(Client(problem, weight / own.views, own.beta, own.l2 if l2 is None else l2))
    return clients
