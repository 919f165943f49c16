"""What a deletion leaves behind its transaction: files, job records, and bytes in freed pages.

`clean` removes them right after the commit. If the process dies before, `heal` does so at the next
start.
"""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.receipts import residue
from app.store import datasets, orphans, pack_erasure
from app.store.blobs import LocalBlobs
from app.store.db import scrub, transaction
from app.store.jobs import records_of
from app.store.tables import Tombstone
from app.unlearning.deletion import Deletion


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
        orphans.sweep(session, blobs)
        records = records_of(session)
        left = [path for path in blobs.scratch.iterdir() if _is_of_deleted(session, path)]
        deleted = session.scalar(select(Tombstone.subject_id).limit(1)) is not None
    jobs.forget(records)
    _drop_scratch(left)
    pack_erasure.heal(sessions, blobs)
    for path in blobs.scratch_of(datasets.SCRATCH):
        if time.time() - path.stat().st_mtime > orphans.UNCLAIMED_SECONDS:
            path.unlink(missing_ok=True)
    if deleted:
        scrub(sessions)


def _is_of_deleted(session: Session, path: Path) -> bool:
    """Whether the scratch file or folder was made for something that was deleted."""
    return session.get(Tombstone, path.name.rpartition("-")[0]) is not None


def _drop_scratch(paths: Iterable[Path]) -> None:
    for path in paths:
        # A trainer that has not noticed yet may be writing; it drops its folder itself.
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
