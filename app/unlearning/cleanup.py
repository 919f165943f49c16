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

from app.receipts import residue
from app.store import datasets, pack_erasure
from app.store.blobs import BlobMissing, LocalBlobs
from app.store.components import ACTIVE
from app.store.db import transaction
from app.store.jobs import records_of
from app.store.tables import Component, Dataset, Tombstone
from app.unlearning.deletion import Deletion

log = logging.getLogger(__name__)

UNCLAIMED_SECONDS = 3600  # a blob is written before its row: one this young may still get it
NAMED = 3  # unknown files, in the log
VACUUM_BYTES = 256 * 2**20  # rewriting a larger SQLite file takes seconds
WAIT_MS = 5000  # for other connections to end their transactions


class Jobs(Protocol):
    """What is asked of app.store.jobs.Jobs."""

    def cancel(self, job_id: str) -> None: ...
    def forget(self, job_ids: Iterable[str]) -> None: ...


def clean(
    deletion: Deletion, sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs
) -> None:
    """Remove what the committed deletion left: nothing of its subjects is on disk afterwards."""
    if deletion.erased is not None:
        pack_erasure.erase(blobs, *deletion.erased)
    for key in deletion.files:
        blobs.delete(key)
    for folder in (each for subject in deletion.subject_ids for each in residue.folders(subject)):
        for key in list(blobs.keys(folder)):
            blobs.delete(key)
    for job_id in deletion.training:
        jobs.cancel(job_id)
    jobs.forget(deletion.jobs)
    for subject_id in deletion.subject_ids:
        _drop_scratch(blobs.scratch_of(subject_id))
    _drop_scratch(deletion.scratch)
    scrub(sessions)


def heal(sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs) -> None:
    """Finish what deletions, trainings and uploads of a process that died have left undone."""
    with transaction(sessions) as session:
        sweep(session, blobs)
        records = records_of(session)
        left = [path for path in blobs.scratch.iterdir() if _is_of_deleted(session, path)]
        deleted = session.scalar(select(Tombstone.subject_id).limit(1)) is not None
    jobs.forget(records)
    _drop_scratch(left)
    pack_erasure.heal(sessions, blobs)
    for path in blobs.scratch_of(datasets.SCRATCH):
        if time.time() - path.stat().st_mtime > UNCLAIMED_SECONDS:
            path.unlink(missing_ok=True)
    if deleted:
        scrub(sessions)


def sweep(session: Session, blobs: LocalBlobs) -> list[str]:
    """Remove the blobs that were deleted or that no row can come to refer to; return their keys.

    What nothing here knows stays: it may be of a later state of this database than the present.
    """
    swept, unknown = [], []
    for key in list(blobs.keys()):
        subject_id = Path(key).parts[1] if key.count("/") else ""
        if session.get(Tombstone, subject_id) or session.get(Tombstone, key):
            proved = True
        elif (component := session.get(Component, subject_id)) is not None:
            proved = _is_useless(component, blobs, key)
        else:
            proved = False
            if session.get(Dataset, subject_id) is None and not _is_young(blobs, key):
                unknown.append(key)
        if proved:
            blobs.delete(key)
            swept.append(key)
    if unknown:
        log.warning(
            "%d files that the database does not know were left where they are in %s: %s",
            *(len(unknown), blobs.root, ", ".join(unknown[:NAMED]) + " …" * (len(unknown) > NAMED)),
        )
    return swept


def _is_useless(component: Component, blobs: LocalBlobs, key: str) -> bool:
    """Return whether the file can never be the component's."""
    if component.status != "ready":
        return component.status not in ACTIVE
    if component.blob_key is None or component.blob_key == key or _is_young(blobs, key):
        return False  # a young one may be about to take the present one's place
    # Without its own file, the row may be of before this file took that one's place.
    return blobs.path(component.blob_key, must_exist=False).is_file()


def _is_young(blobs: LocalBlobs, key: str) -> bool:
    return _age(blobs, key) < UNCLAIMED_SECONDS


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


def _is_of_deleted(session: Session, path: Path) -> bool:
    """Whether the scratch file or folder was made for something that was deleted."""
    return session.get(Tombstone, path.name.rpartition("-")[0]) is not None


def _drop_scratch(paths: Iterable[Path]) -> None:
    for path in paths:
        # A trainer that has not noticed yet may be writing; it drops its folder itself.
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
