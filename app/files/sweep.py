"""The sweep: removes blobs that are proved to be nobody's, and sets aside those that no row knows.

    sweep(sessions, blobs)           at the start of an API, and now and then by a worker
    survey(session, list(…))         the same judgement without an act, for `tangent doctor`

Proofs are a tombstone of the blob or of its subject, and an intent (app.files.intents) that was
given up or that nobody settled for an hour. Whatever else no row names goes to the quarantine: the
database may be older than the file, and then a later one knows it.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from app.database.chunks import chunks
from app.database.sessions import frozen_view, transaction
from app.database.tables import BatchPrediction, BlobIntent, Component, Dataset, Tombstone
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.quarantine import Quarantine

UNCLAIMED_SECONDS = 3600  # a younger blob may be between its intent and its row
KEYS_OF_BATCHES = (
    BatchPrediction.archive_key,
    BatchPrediction.jsonl_key,
    BatchPrediction.csv_key,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """The blobs that no row names, by the proof that there is, and the rows' blobs that lack."""

    deleted: list[str]  # a tombstone proves it
    abandoned: list[str]  # an intent proves it
    unknown: list[str]
    missing: list[str]  # named by a row
    stale: list[str]  # intents without a blob


def sweep(
    sessions: sessionmaker[Session],
    blobs: LocalBlobs,
    *,
    alone_at: float | None = None,
    announce: Callable[[list[str]], None] = lambda _: None,
) -> list[str]:
    """Remove, set aside or bring back what the survey finds; return the keys that were removed.

    `alone_at` is a time at which no process but this one was on the store: whatever others had
    begun before, they will not end. `announce` gets the keys before any of their files is touched.
    """
    quarantine = Quarantine(blobs)
    found, held = list(blobs.keys()), list(quarantine.keys())  # listed before the rows are read
    with frozen_view(sessions) as session:
        seen = survey(session, blobs, found, alone_at=alone_at)
        doomed = _deleted(session, held)
    returning = sorted(set(seen.missing).intersection(held))
    announce([*seen.deleted, *doomed, *seen.abandoned, *seen.unknown, *returning])
    for key in seen.deleted:
        blobs.delete(key)
    for key in doomed:
        quarantine.delete(key)
    removed = seen.deleted + _remove_given_up(sessions, blobs, [*seen.abandoned, *seen.stale])
    for key in seen.unknown:
        if quarantine.take(key):
            log.warning("%s is known to no row: it was moved to %s", key, quarantine.path(key))
    for key in returning:
        if quarantine.give_back(key):
            log.warning("%s is named by a row: it was moved back from quarantine", key)
    return removed


def survey(
    session: Session,
    blobs: LocalBlobs,
    found: Collection[str],
    *,
    alone_at: float | None = None,
) -> Survey:
    """Judge these blobs by the rows as they are after the blobs were listed."""
    limit = max(time.time() - UNCLAIMED_SECONDS, alone_at or 0)
    intents = {row.key: row for row in session.scalars(select(BlobIntent))}
    named = {key for keys in _named(session) for key in keys}
    unnamed = [key for key in found if key not in named]
    deleted = _deleted(session, unnamed)
    buried = set(deleted)
    changed = {key: _changed_at(blobs, key) for key in unnamed}
    return Survey(
        deleted=deleted,
        abandoned=[
            key
            for key in unnamed
            if key in intents and (changed[key] < limit or intents[key].given_up)
        ],
        unknown=[
            key
            for key in unnamed
            if changed[key] < time.time() - UNCLAIMED_SECONDS and key not in buried | intents.keys()
        ],
        missing=sorted(key for key in named if not blobs.path(key, must_exist=False).is_file()),
        stale=_without_blob(blobs, intents, limit),
    )


def _named(session: Session) -> Iterable[Iterable[str]]:
    yield session.scalars(select(Dataset.pack_key))
    for column in (Component.blob_key, *KEYS_OF_BATCHES):
        yield session.scalars(select(column).where(column.is_not(None)))


def _deleted(session: Session, keys: Iterable[str]) -> list[str]:
    """Return the keys that a tombstone buries, by themselves or with their subject."""
    subjects = {key: {key, Path(key).parts[1] if key.count("/") else key} for key in keys}
    wanted = sorted(set().union(*subjects.values()))
    buried: set[str] = set()
    for some in chunks(wanted):
        mine = Tombstone.subject_id.in_(some)
        buried.update(session.scalars(select(Tombstone.subject_id).where(mine)))
    return [key for key, ids in subjects.items() if ids & buried]


def _without_blob(blobs: LocalBlobs, intents: Mapping[str, BlobIntent], limit: float) -> list[str]:
    """Return the keys of intents from before the limit under which no blob lies."""
    return [
        key
        for key, row in intents.items()
        if row.created_at.timestamp() < limit and not blobs.path(key, must_exist=False).is_file()
    ]


def _remove_given_up(
    sessions: sessionmaker[Session], blobs: LocalBlobs, keys: list[str]
) -> list[str]:
    """Give the intents up, remove their blobs, drop the intents; return the blobs' keys."""
    removed = []
    for some in chunks(keys):
        mine = BlobIntent.key.in_(some)
        with transaction(sessions) as session:
            session.execute(update(BlobIntent).where(mine).values(given_up=True))
            # One that was settled in the meantime is not there any more.
            ours = list(session.scalars(select(BlobIntent.key).where(mine)))
        removed += [key for key in ours if blobs.delete(key)]
        with transaction(sessions) as session:
            session.execute(delete(BlobIntent).where(BlobIntent.key.in_(ours)))
    return removed


def _changed_at(blobs: LocalBlobs, key: str) -> float:
    try:
        return blobs.path(key).stat().st_mtime
    except (BlobMissing, FileNotFoundError):  # another process has removed it
        return time.time()
