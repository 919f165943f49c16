"""One training from decoded images to a component file, with the service or without it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import tangent
from app.images.decoder import Limits
from tangent.vocabulary import LINEAR
from training_worker.source import Entry, ImageSource, groups, once_each, unit_of

PROGRESS_SECONDS = 0.1  # between two reports of the same phase


class Settings(NamedTuple):
    """The settings of a training."""

    hyperparameters: Mapping[str, Any]  # as they were resolved
    seed: int
    privacy: tangent.Privacy | None


def fit(
    space: tangent.Space,
    images: list[Entry],
    pack: Path,
    settings: Settings,
    limits: Limits,
    folder: Path,
    progress: Callable[[tangent.Progress], None],
) -> tangent.TrainingResult:
    """Train a component from these images of a pack; `folder` takes what is cached.

    Raises:
        Problem: as `ImageSource.batches`.
        TangentError: as `tangent.fit`.
    """
    by_group = settings.privacy is not None and settings.privacy.unit == "group"
    if settings.privacy is not None:
        images = once_each(images, by_group=by_group)
    return tangent.fit(
        space,
        ImageSource(images, pack, space.preprocess, limits),
        tangent.Hyperparameters.stored(space.scope, settings.hyperparameters),
        seed=settings.seed,
        scratch=folder,
        progress=progress,
        privacy=settings.privacy,
        groups=groups(images) if space.scope in LINEAR else None,
        units=[unit_of(each) for each in images] if by_group else None,
    )


def saved(fitted: tangent.TrainingResult, file: Path) -> dict[str, Any]:
    """Write the component's file; return what is told of it."""
    sha256 = fitted.component.save(file)
    return {
        "file": str(file),
        "sha256": sha256,
        "bytes": file.stat().st_size,
        "labels": dict(fitted.component.labels),
        "metrics": {name: _finite(value) for name, value in fitted.metrics.items()},
    }


class Reporter:
    """Reporter of progress, with the time left in its phase if it is known, at a limited rate."""

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        self._report = report
        self._phase, self._began, self._last = "", 0.0, 0.0

    def __call__(self, progress: tangent.Progress) -> None:
        now = monotonic()
        if progress.phase != self._phase:
            self._phase, self._began, self._last = progress.phase, now, 0.0
        if now - self._last < PROGRESS_SECONDS and progress.step < progress.total:
            return
        self._last = now
        is_known = progress.step and not progress.ends_early
        left = (now - self._began) * (progress.total - progress.step) / max(progress.step, 1)
        self._report(
            {
                "phase": progress.phase,
                "step": progress.step,
                "total": progress.total,
                "loss": _finite(progress.loss),
                "eta_seconds": round(left, 1) if is_known else None,
            }
        )


def _finite(value: Any) -> Any:
    """Return the value, or None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
