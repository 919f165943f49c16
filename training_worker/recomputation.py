"""Components made again from their retained images, and compared with their files to the byte.

    for outcome in recompute(settings, sample=3): …

A file and its row that were replaced together agree with each other, and so do the sums and the
equations in the file. Only the images show it.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound

from app.database.sessions import transaction
from app.database.tables import Component, Space
from app.errors import Gone, NotFound, Problem
from app.files.blobs import BlobMissing
from app.settings import Settings
from app.store.recomputation import can_be_made_again, verdict
from tangent.errors import TangentError
from training_worker.training import Training


@dataclass(frozen=True)
class Outcome:
    """The comparison of one component; `same` is None if the bytes cannot be compared."""

    component_id: str
    same: bool | None
    text: str


def recompute(settings: Settings, *, sample: int | None = None) -> Iterator[Outcome]:
    """Yield the outcomes of all components at linear scopes that were trained from a dataset.

    `sample` is the number of components, drawn at random; None takes all. Nothing is written but
    scratch files, and no transaction is open during a training.
    """
    training = Training(settings)
    query = (
        select(Component.id)
        .join(Space, Space.name == Component.space)
        .where(*can_be_made_again())
        .order_by(Component.id)
    )
    with transaction(training.sessions) as session:
        ids = list(session.scalars(query))
    if sample is not None:
        ids = random.SystemRandom().sample(ids, min(sample, len(ids)))
    for component_id in ids:
        outcome = _compared(training, component_id)
        if outcome is not None:
            yield outcome


def _compared(training: Training, component_id: str) -> Outcome | None:
    """Return the outcome; None if the component was deleted or changed in the meantime."""
    before = _row(training, component_id)
    if before is None:
        return None
    outcome = _made_again(training, before)
    after = _row(training, component_id)
    kept = after is not None and (after.sha256, after.blob_key) == (before.sha256, before.blob_key)
    return outcome if kept else None


def _row(training: Training, component_id: str) -> Component | None:
    with transaction(training.sessions) as session:
        row = session.get(Component, component_id)
        return row if row is not None and row.status == "ready" else None


def _made_again(training: Training, row: Component) -> Outcome | None:
    try:
        with training.blobs.path(row.blob_key or "").open("rb") as file:
            stored = hashlib.file_digest(file, "sha256").hexdigest()
        with TemporaryDirectory() as folder:
            made = training.run(row.id, Path(folder), lambda _: None)
    except (Gone, NotFound, NoResultFound):
        return None
    except (BlobMissing, Problem, TangentError, OSError) as error:
        return Outcome(row.id, False, f"cannot be made again: {error}")
    found = verdict(row, stored=stored, made=made["sha256"], metrics=made["metrics"])
    return Outcome(row.id, found.same, found.text)
