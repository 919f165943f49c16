"""Leftovers: files of batch predictions without a row, and those that were given up.

They were made with whatever their batch predictions had used, which no row tells any more: so every
deletion removes all of them. An archive on its way to its first row is none.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import transaction
from app.database.tables import BatchPrediction, BlobIntent
from app.files.blobs import LocalBlobs
from app.files.quarantine import Quarantine
from app.passes.batch_predictions import FOLDER, PREFIX, archive_key


class Leftovers(NamedTuple):
    """Paths in the scratch folder, and keys of blobs and of files in quarantine."""

    scratch: list[Path]
    blobs: list[str]
    quarantined: list[str]


def find(session: Session, blobs: LocalBlobs) -> Leftovers:
    """Return what is left now, as a session sees it that has read nothing before.

    A row always comes before the files that are made for it, so those are listed first.
    """
    scratch = list(blobs.scratch.glob(f"{PREFIX}_*"))
    keys, held = list(blobs.keys(FOLDER)), list(Quarantine(blobs).keys(FOLDER))
    if not (scratch or keys or held):
        return Leftovers([], [], [])
    known = set(session.scalars(select(BatchPrediction.id)))
    below = BlobIntent.key.startswith(f"{FOLDER}/", autoescape=True)
    given_up = set(session.scalars(select(BlobIntent.key).where(below, BlobIntent.given_up)))

    def is_left(key: str) -> bool:
        id_ = Path(key).parts[1]
        return key in given_up or (id_ not in known and key != archive_key(id_))

    return Leftovers(
        [path for path in scratch if path.name.rpartition("-")[0] not in known],
        [key for key in keys if is_left(key)],
        [key for key in held if is_left(key)],
    )


def remove(sessions: sessionmaker[Session], blobs: LocalBlobs) -> None:
    """Remove what is left now; files go from the scratch folder first, as they come from there."""
    remove_scratch(sessions, blobs)
    with transaction(sessions) as session:
        found = find(session, blobs)
    _delete(blobs.delete, found.blobs)
    _delete(Quarantine(blobs).delete, found.quarantined)


def remove_scratch(sessions: sessionmaker[Session], blobs: LocalBlobs) -> None:
    """Remove what is left in the scratch folder now, and nothing that a later database may know."""
    with transaction(sessions) as session:
        found = find(session, blobs)
    for path in found.scratch:
        path.unlink(missing_ok=True)


def _delete(delete: Callable[[str], object], keys: Iterable[str]) -> None:
    for key in keys:
        delete(key)
