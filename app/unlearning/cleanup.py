"""Cleanup after a deletion's transaction: files, job records, and bytes in freed database pages.

`finish` removes them right after the commit. If the process dies before, `recover` does so at the
next start.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.database.jobs import records_of
from app.database.sessions import scrub, transaction
from app.database.tables import Tombstone
from app.datasets import datasets
from app.errors import NotReady
from app.files import erasure, folders
from app.files import sweep as orphans
from app.files.blobs import LocalBlobs
from app.files.quarantine import Quarantine
from app.passes import batch_predictions, leftovers
from app.receipts import references
from app.unlearning.deletion import Deletion

log = logging.getLogger(__name__)

# Prefixes of what a killed process left.
INTERRUPTED = (datasets.SCRATCH, batch_predictions.SCRATCH, "import", "backup")


class Jobs(Protocol):
    """The part of app.database.jobs.Jobs that ends trainings."""

    def cancel(self, job_id: str) -> None: ...
    def forget(self, job_ids: Iterable[str]) -> None: ...


def finish(
    deletion: Deletion, sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs
) -> None:
    """Remove what the committed deletion left: nothing of its subjects is on disk afterwards.

    A step that fails keeps no other from its turn, and is tried once more at the end.

    Raises:
        NotReady: `cleanup_unfinished` if a step failed twice; the next start tries again.
    """
    steps = _steps(deletion, sessions, jobs, blobs)
    failed = [step for step in steps if _error_of(step)]
    errors = [error for step in failed if (error := _error_of(step))]
    if errors:
        raise NotReady(
            "cleanup_unfinished",
            f"the deletion took place, as receipt {deletion.receipt.id} says, and no answer has "
            "what was deleted; but not all of its traces could be removed from the disk: see to "
            "the disk, then start the service again, which removes them, and verify the receipt",
            receipt_id=deletion.receipt.id,
        ) from errors[0]


def _steps(
    deletion: Deletion, sessions: sessionmaker[Session], jobs: Jobs, blobs: LocalBlobs
) -> Iterator[Callable[[], object]]:
    """Yield every step of the cleanup; each may be repeated."""
    obsolete, quarantine = deletion.obsolete, Quarantine(blobs)
    if deletion.erased is not None:
        yield partial(erasure.erase, blobs, *deletion.erased)
    for id_ in obsolete.passes:  # before the folders, to which an attempt moves its files
        yield partial(_delete_scratch_of, blobs, id_)
    for store in (blobs, quarantine):
        for key in obsolete.files:
            yield partial(store.delete, key)
        for subject_id in obsolete.subject_ids:
            for folder in references.folders(subject_id):
                yield partial(_delete_folder, store, folder)
        for id_ in obsolete.passes:  # also what an attempt that died has left there
            yield partial(_delete_folder, store, f"{batch_predictions.FOLDER}/{id_}")
    yield partial(leftovers.remove, sessions, blobs)
    for job_id in obsolete.training:
        yield partial(jobs.cancel, job_id)
    if obsolete.jobs:
        yield partial(jobs.forget, obsolete.jobs)
    # After the cancelling: a training may have made more until it noticed.
    for subject_id in obsolete.subject_ids:
        yield partial(_delete_scratch_of, blobs, subject_id)
    yield partial(_delete_scratch, obsolete.scratch)
    yield partial(scrub, sessions)


def _error_of(step: Callable[[], object]) -> Exception | None:
    """Take the step; return its error, which is logged, or None."""
    try:
        step()
    except Exception as error:  # the deletion is committed, whatever fails now
        log.warning("a step of the cleanup after a deletion failed: %s", error)
        return error
    return None


def _delete_folder(store: LocalBlobs | Quarantine, folder: str) -> None:
    for key in list(store.keys(folder)):
        store.delete(key)


def _delete_scratch_of(blobs: LocalBlobs, subject_id: str) -> None:
    _delete_scratch(blobs.scratch_of(subject_id))


def recover(
    sessions: sessionmaker[Session],
    jobs: Jobs,
    blobs: LocalBlobs,
    *,
    alone_at: float | None = None,
) -> None:
    """Finish the deletions, trainings and uploads of a process that died.

    `alone_at` is as for `app.files.sweep.sweep`.
    """
    orphans.sweep(sessions, blobs, alone_at=alone_at)
    with transaction(sessions) as session:
        records = records_of(session)
        stale = [path for path in blobs.scratch.iterdir() if _is_of_deleted(session, path)]
        deleted = session.scalar(select(Tombstone.subject_id).limit(1)) is not None
    jobs.forget(records)
    _delete_scratch(stale)
    leftovers.remove_scratch(sessions, blobs)
    erasure.finish_erasures(sessions, blobs)
    old = max(time.time() - orphans.UNCLAIMED_SECONDS, alone_at or 0)
    for prefix in INTERRUPTED:
        _delete_scratch(_of_before(old, blobs.scratch_of(prefix)))
    # Of components, files only: a folder is a training's, whose next attempt removes it.
    made = ("cmp_*", f"{batch_predictions.PREFIX}_*")
    saved = (path for each in made for path in blobs.scratch.glob(each) if path.is_file())
    _delete_scratch(_of_before(old, saved))
    if deleted:
        scrub(sessions)


def _is_of_deleted(session: Session, path: Path) -> bool:
    """Return whether the scratch file or folder was made for something that was deleted."""
    return session.get(Tombstone, path.name.rpartition("-")[0]) is not None


def _of_before(time: float, paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if folders.was_changed_before(path, time))


def _delete_scratch(paths: Iterable[Path]) -> None:
    for path in paths:
        # A trainer that has not noticed yet may be writing; it deletes its folder itself.
        folders.remove(path)
