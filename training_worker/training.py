"""One training or derivation from rows and blobs to a component file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sqlalchemy.orm import Session

import tangent
from app.database.sessions import open_engine, session_factory
from app.database.tables import ACTIVE, Component, Space
from app.datasets import datasets, privacy_ledger
from app.files.blobs import LocalBlobs
from app.settings import Settings
from app.store import components, spaces
from training_worker import deriving, fitting
from training_worker.entries import entries
from training_worker.fitting import Reporter, saved

Making = Callable[[tangent.Space, Path, Reporter], tangent.TrainingResult]


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
        return saved(fitted, folder / "component.safetensors")

    def _training(self, session: Session, component: Component) -> Making:
        """Train a component from images."""
        dataset = datasets.get(session, component.dataset_id or "")
        # One that was ready was made before the budget, and what is ready is only verified.
        if component.privacy is None and component.status in ACTIVE and not component.retraining:
            privacy_ledger.require_private(dataset, "a training without privacy")
        images = entries(session, dataset.id)
        privacy = tangent.Privacy.read(component.privacy) if component.privacy else None
        settings = fitting.Settings(component.hyperparameters, component.seed, privacy)

        def make(space: tangent.Space, folder: Path, progress: Reporter) -> tangent.TrainingResult:
            pack = self.blobs.path(dataset.pack_key)
            return fitting.fit(space, images, pack, settings, self.settings, folder, progress)

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
        how: dict[str, Any] = {"device": self.settings.device, "fingerprint": row.fingerprint}
        how |= {"tf32": self.settings.tf32 == "on", "compile": self.settings.compile}
        declared = tuple(row.declared_labels)
        space = spaces.open_row(
            row, lambda: tangent.open_space(row.backbone, row.scope, declared, **how)
        )
        self._opened = row.fingerprint, space
        return space
