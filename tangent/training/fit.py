"""Training a component: a function of the space, the images with their labels, settings and a seed.

The frozen part of the backbone sees every image once. Its output is cached, and the solvers work on
the cache.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.privacy import Privacy, check_settings
from tangent.components.statistics import Statistics, total
from tangent.errors import NonFinite
from tangent.solvers.conjugate_gradients import Report
from tangent.spaces.determinism import run_deterministically, told_of
from tangent.spaces.reproducibility import environment
from tangent.spaces.space import Space
from tangent.training import block_statistics, cholesky, iterative
from tangent.training.activation_cache import BATCH, cached
from tangent.training.augmentation import AugmentedSource, Source
from tangent.training.linearity import linearisation_errors
from tangent.training.privacy.release import private_statistics
from tangent.training.problem import Solution, TrainingProblem
from tangent.training.room import Room, run_in_room
from tangent.vocabulary import L2_CHOSEN_BY

ENDING_EARLY = ("cg", "lbfgs")  # solvers that end when they are accurate enough


@dataclass(frozen=True)
class Progress:
    """The progress of a training: `step` of `total` in its phase, `features` or `solve`.

    ends_early: `total` is the most steps, of a solver that mostly ends long before, so that the
    steps done do not tell the time left.
    """

    phase: str
    step: int
    total: int
    loss: float | None = None
    ends_early: bool = False


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
    groups: Sequence[int] | None = None,
    privacy: Privacy | None = None,
    units: Sequence[Hashable] | None = None,
) -> TrainingResult:
    """Train one component; the same arguments give the same bytes on the same machine.

    On a device with no deterministic form of an operation they may not: then the metrics have the
    reason, as `not_repeatable`.

    scratch: an existing folder for the cached activations, left for the caller to remove.
    groups: of each image; those of one group are held out together. No bytes depend on them.
    privacy: the noise, and so the bytes, are new each time; each image must come in one row alone.
    units: of each image, if the unit of privacy is a group: all of one change the sums as one may.

    Raises:
        NonFinite: activations or the solution hold NaN or Inf.
        ValueError: the source has no images, or not as many as labels.
        BadPrivacy: scope or settings cannot be private.
    """
    given = space, source, hyperparameters, seed, scratch, progress

    def train() -> TrainingResult:
        if privacy is not None:
            return _fit_privately(*given, (privacy, units))
        return run_in_room(space.device, lambda room: _fit(*given, groups, room))

    trained, reason = run_deterministically(space.device, train)
    return replace(trained, metrics=trained.metrics | told_of(reason))


def _fit(
    space: Space,
    source: Source,
    hyperparameters: Hyperparameters,
    seed: int,
    scratch: Path,
    progress: Callable[[Progress], None],
    groups: Sequence[int] | None,
    room: Room,
) -> TrainingResult:
    started = time.monotonic()
    problem = cached_problem(space, source, hyperparameters, scratch, room, progress, groups)
    solve = _solve_on_features if space.suffix is None else _solve_in_blocks
    step = partial(Progress, "solve", ends_early=hyperparameters.solver in ENDING_EARLY)
    result = solve(problem, seed, lambda *told: progress(step(*told)), scratch)
    metrics = {
        "train_accuracy": problem.accuracy(result.solution.delta),
        "holdout_accuracy": result.holdout_accuracy,
        "l2": problem.hyperparameters.l2,
        "environment": environment(space.device),
    }
    if hyperparameters.choose_l2:
        metrics["l2_chosen_by"] = L2_CHOSEN_BY
    metrics |= result.solution.stats | linearisation_errors(problem, result.solution.delta)
    metrics["seconds"] = round(time.monotonic() - started, 3)
    return TrainingResult(_component(problem, result, seed), metrics)


def _fit_privately(
    space: Space,
    source: Source,
    hyperparameters: Hyperparameters,
    seed: int,
    scratch: Path,
    progress: Callable[[Progress], None],
    terms: tuple[Privacy, Sequence[Hashable] | None],
) -> TrainingResult:
    """Train from sums with noise; neither metrics nor progress say more of the images than these.

    No step of any number is told, as even a rounded share of the images tells their number. The
    measured time and what the machine does meanwhile are not private.
    """
    check_settings(space.scope, hyperparameters.as_dict())
    progress(Progress("features", 0, 1))
    problem = cached_problem(space, source, hyperparameters, scratch)
    privacy, units = terms
    statistics = private_statistics(space, problem.rows, problem.row_labels, privacy, units=units)
    labels = tuple(sorted({*statistics.labels, *space.declared}))
    head = cholesky.plain_head(statistics, labels, space.base_rows(labels), hyperparameters)
    component = Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels={name: int(count) for name, count in statistics.counts.items()},
        head_labels=labels,
        head=_finite(Solution({"head": head}, {})).delta["head"],
        backbone={},
        statistics=statistics,
        hyperparameters=hyperparameters.as_dict(),
        seed=seed,
        privacy=privacy.as_dict(),
        grid=space.stored_grid,
    )
    unmeasured = dict.fromkeys(("train_accuracy", "holdout_accuracy"))
    about = {"l2": hyperparameters.l2, "environment": environment(space.device)}
    return TrainingResult(component, unmeasured | about)


def cached_problem(
    space: Space,
    source: Source,
    hyperparameters: Hyperparameters,
    scratch: Path,
    room: Room | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    groups: Sequence[int] | None = None,
) -> TrainingProblem:
    """Return the training problem of the images, with its rows cached in the room or `scratch`."""
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
        room,
    )
    labels = augmented.labels
    return TrainingProblem(space, rows, labels, hyperparameters, groups=groups, room=room)


def _solve_on_features(
    problem: TrainingProblem, seed: int, report: Report, scratch: Path
) -> _Solved:
    """Solve at a scope that is linear in fixed features; the statistics settle the penalty."""
    measured, settings = cholesky.measured(problem), problem.hyperparameters
    tried: dict[float, float] = {}
    problem.hyperparameters = cholesky.settled(
        measured.everything, problem.labels, problem.base.cpu(), settings, tried
    )
    sums = total([measured.everything], [1 / settings.views])
    if settings.solver == "cholesky":
        solution = cholesky.solve(problem, measured.everything)
        holdout_accuracy = cholesky.holdout_accuracy(problem, measured.kept)
        return _Solved(_told(_finite(solution), tried), sums, holdout_accuracy)
    solution = iterative.solve(problem, seed, report, scratch)
    return _Solved(_told(_finite(solution), tried), sums)


def _told(solution: Solution, tried: Mapping[float, float]) -> Solution:
    """Return the solution; its metrics have the penalties that were looked at, if any were."""
    if not tried:
        return solution
    errors = [{"l2": l2, "left_out_error": error} for l2, error in sorted(tried.items())]
    return replace(solution, stats=solution.stats | {"tried_l2": errors})


def _solve_in_blocks(problem: TrainingProblem, seed: int, report: Report, scratch: Path) -> _Solved:
    """Solve at a block scope; the statistics are those of the solved block's features."""
    block_statistics.settle_penalty(problem)
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
        grid=space.stored_grid,
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
