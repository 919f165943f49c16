"""`joint` at block scopes where the data are held: the pooled problem's optimum, in a few passes.

Conjugate gradients on the problem of `pool`, from delta_B = 0, preconditioned by the Kronecker
model of the backbone's curvature; the head is the exact one at every step. A pass is one push and
one pull over the cached rows of all images. The result is a function of the parts alone: it starts
from nothing that was fitted before.
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
from tangent.errors import BadWeight, NonFinite
from tangent.space import Space
from tangent.training.activation_cache import BATCH, cached
from tangent.training.augmentation import Source, Views
from tangent.training.fit import Progress, cacheable
from tangent.training.pooled_problem import Party, Pool, solve
from tangent.training.problem import Problem

PASSES = 8
Part = tuple[Component, float | None, Source]  # its weight, at least 0, and the images it was of


@dataclass(frozen=True)
class Refined:
    """The joint optimum's head rows (of `labels`) and directions, and how it was found."""

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
    """Joint training on the parts' images, each counted as often as its part's weight says.

    Every image keeps the target beta of its component's training, as in `compose.pooled`; the
    order of the parts is that of the sums. Stops before `passes` if the gradient has shrunk by
    `tolerance`.

    Raises:
        BadWeight: a weight below 0, or none above.
        FingerprintMismatch, BadComponent: a part that does not live in this space.
        NonFinite: activations or the solution hold NaN or Inf.
    """
    started = time.monotonic()
    counted = [
        (component, weight, source) for component, weight, source in _weighed(parts) if weight
    ]
    for component, _, _ in counted:
        space.check(component)
    pool = Pool(_parties(space, counted, scratch, progress), scratch)
    head, backbone, steps, left = solve(
        pool,
        most=passes,
        tolerance=tolerance,
        report=lambda step, most, left: progress(Progress("solve", step, most, left)),
    )
    if not all(torch.isfinite(value).all() for value in [head, *backbone.values()]):
        raise NonFinite("refining diverged to NaN or Inf: raise l2 of the components' trainings")
    counts = sum((Counter(source.labels) for _, _, source in counted), Counter[str]())
    metrics = {
        "passes": steps,
        "gradient_reduction": left,
        "images": sum(counts.values()),
        "seconds": round(time.monotonic() - started, 3),
    }
    return Refined(
        labels=pool.labels,
        counts=dict(sorted(counts.items())),
        head=head.cpu(),
        backbone={name: value.cpu() for name, value in sorted(backbone.items())},
        metrics=metrics,
    )


def _weighed(parts: Sequence[Part]) -> list[tuple[Component, float, Source]]:
    found = [(c, 1.0 if w is None else float(w), source) for c, w, source in parts]
    weights = [weight for _, weight, _ in found]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise BadWeight("refining needs weights of at least 0, and one above")
    return found


def _parties(
    space: Space,
    parts: Sequence[tuple[Component, float, Source]],
    scratch: Path,
    progress: Callable[[Progress], None],
) -> list[Party]:
    """Every part's problem on the labels of all, its rows cached."""
    labels = sorted({name for _, _, source in parts for name in source.labels})
    settings = [Hyperparameters.resolve(space.scope, part.hyperparameters) for part, _, _ in parts]
    total = sum(len(p[2].labels) * each.views for p, each in zip(parts, settings, strict=True))
    done, parties = 0, []
    for at, ((_, weight, source), own) in enumerate(zip(parts, settings, strict=True)):
        shown = Views(source, own.views)

        def advance(count: int, before: int = done) -> None:
            progress(Progress("features", before + count, total))

        path = scratch / f"activations-{at}"
        rows = cached(path, len(shown.labels), shown.batches(BATCH), cacheable(space), advance)
        done += len(rows)
        problem = Problem(space, rows, shown.labels, own, labels)
        parties.append(Party(problem, weight / own.views, own.beta, own.l2))
    return parties
