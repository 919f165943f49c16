"""What a deletion leaves behind its transaction: files, job records, and bytes in freed pages.

`clean` removes them right after the commit. If the process dies before, `heal` does so at the next
start.
"""

import logging
import shutil
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.store import datasets, residue
from app.store.blobs import BlobMissing, LocalBlobs
from app.store.components import ACTIVE
from app.store.db import transaction
from app.store.deletion import Deletion
from app.store.tables import Component, Dataset, Tombstone

log = logging.getLogger(__name__)

UNCLAIMED_SECONDS = 3600  # a blob is written before its row: one this young may still get it
VACUUM_BYTES = 256 * 2**20  # rewriting a larger SQLite file takes seconds
WAIT_MS = 5000  # for other connections to end their transactions


class Jobs(Protocol):
    """What is asked of app.store.jobs.Jobs."""

    def cancel(self, component_id: str) -> None: ...
    def forget(self, component_ids: Iterable[str]) -> None: ...


def clean(
    deletion: Deletion, sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs
) -> None:
    """Remove what the committed deletion left: nothing of its subjects is on disk afterwards."""
    for folder in (each for subject in deletion.subject_ids for each in residue.folders(subject)):
        for key in list(blobs.keys(folder)):
            blobs.delete(key)
    for component_id in deletion.training:
        jobs.cancel(component_id)
    _drop(deletion.subject_ids, jobs, blobs)
    scrub(sessions)


def heal(sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs) -> None:
    """Finish what deletions, trainings and uploads of a process that died have left undone."""
    with transaction(sessions) as session:
        sweep(session, blobs)
        records = residue.job_records(session)
        deleted = list(session.scalars(select(Tombstone.subject_id)))
    _drop(records, jobs, blobs)
    for subject_id in deleted:
        _drop_scratch(subject_id, blobs)
    for path in blobs.scratch_of(datasets.SCRATCH):
        if time.time() - path.stat().st_mtime > UNCLAIMED_SECONDS:
            path.unlink(missing_ok=True)
    if deleted:
        scrub(sessions)


def sweep(session: Session, blobs: LocalBlobs) -> list[str]:
    """Remove the blobs that no row refers to or can come to refer to; their keys."""
    swept = []
    for key in list(blobs.keys()):
        claimed = _is_claimed(session, key)
        if claimed is None:
            claimed = _age(blobs, key) < UNCLAIMED_SECONDS
        if not claimed:
            blobs.delete(key)
            swept.append(key)
    return swept


def _is_claimed(session: Session, key: str) -> bool | None:
    """Whether a row has use for the blob; None if its row may be on the way, or never come."""
    subject_id = Path(key).parts[1] if key.count("/") else ""
    if session.get(Tombstone, subject_id) is not None:
        return False
    component = session.get(Component, subject_id)
    if component is not None:
        return component.blob_key == key or component.status in ACTIVE
    return True if session.get(Dataset, subject_id) is not None else None


def _age(blobs: LocalBlobs, key: str) -> float:
    try:
        return time.time() - blobs.path(key).stat().st_mtime
    except (BlobMissing, FileNotFoundError):  # another process has removed it
        return 0


def scrub(sessions: sessionmaker[Session]) -> None:
    """Overwrite what deleted rows left in SQLite's file and log; a server does that by itself."""
    engine = sessions.kw["bind"]
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()  # VACUUM works outside of transactions only
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={WAIT_MS}")
        if engine.url.database and Path(engine.url.database).stat().st_size <= VACUUM_BYTES:
            # secure_delete zeroes a deleted cell, but not the copies that moving it has left.
            cursor.execute("VACUUM")
        if cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            log.warning(
                "the SQLite log is in use and was not emptied; the next deletion tries again"
            )
    except sqlite3.OperationalError as error:
        log.warning("the SQLite file is in use and was not rewritten: %s", error)
    finally:
        connection.invalidate()  # its busy_timeout is not the pool's
        connection.close()


def _drop(subject_ids: Iterable[str], jobs: Jobs, blobs: LocalBlobs) -> None:
    ids = list(subject_ids)
    jobs.forget(ids)
    for subject_id in ids:
        _drop_scratch(subject_id, blobs)


def _drop_scratch(subject_id: str, blobs: LocalBlobs) -> None:
    for path in blobs.scratch_of(subject_id):
        # A trainer that has not noticed yet may be writing; it drops its folder itself.
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
