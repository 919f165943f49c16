"""Batch predictions as rows: a selection, a dataset or an archive, and two files of results.

The archive's images are kept until the end, whatever it is; the results until a deletion
invalidates them, or until they are deleted themselves.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from app.access import callers, quotas
from app.database.ids import next_id
from app.database.sessions import hold_write_lock, on_commit, transaction
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    BlobIntent,
    Dataset,
    IdempotencyKey,
)
from app.errors import Conflict, Gone, NotFound
from app.files.blobs import LocalBlobs
from app.files.intents import Intent, give_up
from app.passes import queue
from app.passes.queue import Held
from app.store import fitted_weights
from app.store.members import require_unchanged

PREFIX = "bp"  # of ids
FOLDER = "batch_predictions"  # of the blobs
SCRATCH = "batch"  # prefix of archives being checked
FORMATS = ("jsonl", "csv")

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """A file of results in its place, named by no row yet."""

    blob: Intent
    sha256: str
    bytes: int


def new_id(sessions: sessionmaker[Session]) -> str:
    """Return an id for a batch prediction, in order after all that there are."""
    with transaction(sessions) as session:
        return next_id(session, PREFIX, BatchPrediction.id)


def archive_key(id_: str) -> str:
    """Return the key of the archive's images."""
    return f"{FOLDER}/{id_}/images.pack"


def results_key(held: Held, format_: str) -> str:
    """Return the key of a file of results; every attempt has its own."""
    return f"{FOLDER}/{held.id}/results-{held.attempt}.{format_}"


def add(
    session: Session,
    row: BatchPrediction,
    *,
    dataset: Dataset | None,
    archive: Intent | None,
    max_queued: int,
) -> BatchPrediction:
    """Queue a batch prediction, unless a deletion has come in between.

    `row` has the selection, the model and what is known of the archive.

    Raises:
        Gone, Conflict: as `require_unchanged` and `fitted_weights.fitted_to`.
        TooManyRequests: `queue_full`.
        Forbidden: `quota_exceeded`.
    """
    hold_write_lock(session)
    selection, model = row.selection, row.model or {}
    require_unchanged(session, [*selection["components"], *model["parts"]], dataset)
    queue.check_room(session, max_queued)
    quotas.check(session, max_batch_predictions=1, max_bytes=row.bytes or 0)
    if archive is not None:
        archive.settle(session)
        row.archive_key = archive.key
    row.fitted_to = fitted_weights.fitted_to(session, selection)
    row.created_by, row.status = callers.key_id_of(session), "queued"
    session.add(row)
    session.flush()
    for component_id, is_used in queue.members_of(row).items():
        key = {"batch_prediction_id": row.id, "component_id": component_id}
        session.add(BatchPredictionMember(**key, used=is_used))
    session.flush()
    return row


def get(session: Session, id_: str) -> BatchPrediction:
    """Return the batch prediction with this id as it is now, if the session's caller may see it.

    Raises:
        NotFound: `batch_prediction_not_found`.
    """
    row = session.get(BatchPrediction, id_, populate_existing=True)
    if row is None or not queue.is_seen(session, row):
        raise NotFound(
            "batch_prediction_not_found",
            f"no batch prediction {id_!r}: GET /v1/batch-predictions lists those there are",
        )
    return row


def finished(session: Session, id_: str) -> BatchPrediction:
    """Return the batch prediction, if it has its results.

    Raises:
        Gone: `results_invalidated`, with the `receipt_id`.
        Conflict: `batch_prediction_not_ready`.
        NotFound: as `get`.
    """
    row = get(session, id_)
    if row.status == "invalidated":
        raise Gone(
            "results_invalidated",
            f"the results of {id_} were made with data that was deleted or changed, as receipt "
            f"{row.invalidated_by} says, and are gone: request a batch prediction again",
            receipt_id=row.invalidated_by,
        )
    if row.status != "ready":
        raise _without_results(id_, row.status)
    return row


def _without_results(id_: str, status: str) -> Conflict:
    """Return the refusal; of one that has ended, nobody shall wait for results."""
    told = {
        "cancelled": "was cancelled, so it has no results: request a batch prediction again",
        "failed": "has failed, so it has no results: "
        f"`error` of GET /v1/batch-predictions/{id_} says why",
    }
    waits = f"is {status}, so it has no results yet: GET /v1/batch-predictions/{id_} tells when"
    said = told.get(status, f"{waits} it is ready")
    return Conflict("batch_prediction_not_ready", f"batch prediction {id_} {said}")


def publish(
    session: Session,
    blobs: LocalBlobs,
    held: Held,
    results: Mapping[str, Result],
    num_errors: int,
) -> bool:
    """Name the files of results; False if the attempt has ended, or a deletion has come between.

    Raises:
        Forbidden: `quota_exceeded`, by what they have more than the archive that they replace.
    """
    hold_write_lock(session)
    if not queue.holds(session, held):
        return False
    row, size = get(session, held.id), sum(each.bytes for each in results.values())
    quotas.check_key(session, row.created_by, max_bytes=max(0, size - (row.bytes or 0)))
    columns: dict[str, Any] = {"bytes": size}
    for name, each in results.items():
        columns |= {f"{name}_key": each.blob.key, f"{name}_sha256": each.sha256}
    if not queue.publish(session, held, num_errors=num_errors, **columns):
        return False
    for each in results.values():
        each.blob.settle(session)
    drop_archive(session, blobs, held.id, is_all=False)
    return True


def fail(session: Session, blobs: LocalBlobs, held: Held, code: str, detail: str) -> bool:
    """End the batch prediction with an error; its archive goes. False if the attempt has ended."""
    hold_write_lock(session)  # a backup's last try holds it while it reads the files
    if not queue.fail(session, held, code, detail):
        return False
    drop_archive(session, blobs, held.id)
    return True


def cancel(session: Session, blobs: LocalBlobs, id_: str) -> BatchPrediction:
    """End the batch prediction, and return it; its archive goes.

    Raises:
        Conflict: `batch_prediction_finished`.
        NotFound: as `get`.
    """
    hold_write_lock(session)
    row = get(session, id_)
    queue.cancel(session, row)
    drop_archive(session, blobs, id_)
    session.refresh(row)
    return row


def drop_archive(session: Session, blobs: LocalBlobs, id_: str, *, is_all: bool = True) -> None:
    """Remove the archive's images with the transaction; they are all that the row has, or not."""
    row = session.get_one(BatchPrediction, id_, populate_existing=True)
    if row.archive_key is not None:
        give_up(session, blobs, row.archive_key)
        row.archive_key = None
    if is_all:
        row.bytes = None
    session.flush()


def remove(session: Session, blobs: LocalBlobs, id_: str) -> None:
    """Delete the batch prediction with its files; a repetition of its request makes another one.

    Raises:
        NotFound: as `get`.
    """
    hold_write_lock(session)
    row = get(session, id_)
    folder = f"{FOLDER}/{id_}/"
    begun = select(BlobIntent.key).where(BlobIntent.key.startswith(folder, autoescape=True))
    for key in sorted({*keys_of(row), *session.scalars(begun)}):  # also those of other attempts
        give_up(session, blobs, key)
    on_commit(session, partial(_remove_files, blobs, id_))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == row.id))
    session.delete(row)
    session.flush()


def _remove_files(blobs: LocalBlobs, id_: str) -> None:
    """Remove what attempts have left, first where it is written, then where it is moved to."""
    try:
        for path in blobs.scratch_of(id_):
            path.unlink(missing_ok=True)
        for key in list(blobs.keys(f"{FOLDER}/{id_}")):
            blobs.delete(key)
    except OSError as error:  # the row has gone, and the next deletion or start tries again
        log.warning("not all files of %s could be removed yet: %s", id_, error)


def keys_of(row: BatchPrediction) -> list[str]:
    """Return the keys of all blobs that the row names."""
    return [key for key in (row.archive_key, row.jsonl_key, row.csv_key) if key is not None]
