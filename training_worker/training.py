"""One training or derivation from rows and blobs to a component file."""

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from sqlalchemy.orm import Session

import tangent
from app.database.sessions import open_engine, session_factory
from app.database.tables import Component, Space
from app.files.blobs import LocalBlobs
from app.settings import Settings
from app.store import components, datasets, spaces
from training_worker import deriving
from training_worker.source import ImageSource, entries

PROGRESS_SECONDS = 0.1  # between two reports of the same phase
Making = Callable[[tangent.Space, Path, "Reporter"], tangent.TrainingResult]


class Training:
    """Maker of one component after another, which keeps the last opened space."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.sessions = session_factory(open_engine(settings), read_only=True)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self._opened: tuple[str, tangent.Space] | None = None  # with its fingerprint

    def run(
        self, component_id: str, folder: Path, report: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Make the component's file in the folder; return the values for its row."""
        with self.sessions() as session:
            component = components.get(session, component_id)
            row = session.get_one(Space, component.space)
            make = self._derivation if component.derived is not None else self._training
            made = make(session, component)
        fitted = made(self._open(row), folder, Reporter(report))
        file = folder / "component.safetensors"
        sha256 = fitted.component.save(file)
        return {
            "file": str(file),
            "sha256": sha256,
            "bytes": file.stat().st_size,
            "labels": dict(fitted.component.labels),
            "metrics": {name: _finite(value) for name, value in fitted.metrics.items()},
        }

    def _training(self, session: Session, component: Component) -> Making:
        """Train a component from images."""
        dataset = datasets.get(session, component.dataset_id or "")
        images = entries(session, dataset.id)

        def make(
            space: tangent.Space, folder: Path, progress: "Reporter"
        ) -> tangent.TrainingResult:
            pack = self.blobs.path(dataset.pack_key)
            return tangent.fit(
                space,
                ImageSource(images, pack, space.preprocess, self.settings),
                tangent.Hyperparameters.resolve(space.scope, component.hyperparameters),
                seed=component.seed,
                scratch=folder,
                progress=progress,
            )

        return make

    def _derivation(self, session: Session, component: Component) -> Making:
        """Derive a component from other components."""
        plan = deriving.plan(session, component)
        return lambda space, folder, progress: deriving.make(
            plan, space, self.blobs, self.settings, folder, progress
        )

    def _open(self, row: Space) -> tangent.Space:
        """Open the space of this row, or return it if it is already open.

        Raises:
            SpaceUnavailable: `space_changed` or `space_unavailable`.
        """
        if self._opened and self._opened[0] == row.fingerprint:
            return self._opened[1]
        self._opened = None
        declared, device = tuple(row.declared_labels), self.settings.device
        space = spaces.open_row(
            row, lambda: tangent.open_space(row.backbone, row.scope, declared, device=device)
        )
        self._opened = row.fingerprint, space
        return space


class Reporter:
    """Reporter of progress with the time left in its phase, at a limited rate."""

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
        left = (now - self._began) * (progress.total - progress.step) / max(progress.step, 1)
        self._report(
            {
                "phase": progress.phase,
                "step": progress.step,
                "total": progress.total,
                "loss": _finite(progress.loss),
                "eta_seconds": round(left, 1),
            }
        )


def _finite(value: Any) -> Any:
    """Return the value, or None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
