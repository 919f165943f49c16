"""References to deleted components, datasets and images that are left where the service keeps data.

The places are rows, blobs, scratch files and the job engine's records. The API calls what is found
there the residue.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, String, cast, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from app.database.jobs import records_of
from app.database.sessions import transaction
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Component,
    ComponentEvent,
    ComponentParent,
    Composition,
    CompositionMember,
    Dataset,
    Evaluation,
    EvaluationMember,
    IdempotencyKey,
    Image,
    Tombstone,
)
from app.files import erasure
from app.files.blobs import LocalBlobs
from app.files.quarantine import Quarantine
from app.passes import leftovers

IDS_AT_ONCE = 100  # as a condition of very many parts is refused by SQLite
ANSWERS = Evaluation.selection, Evaluation.model, Evaluation.result, Evaluation.error
BATCHES = BatchPrediction.selection, BatchPrediction.model, BatchPrediction.error
CHECKED = (
    "rows",
    "parents",
    "images",
    "image_bytes",
    "events",
    "compositions",
    "evaluations",
    "batch_predictions",
    "batch_prediction_files",
    "idempotency_keys",
    "job_records",
    "blobs",
    "scratch_files",
)


def count(session: Session, blobs: LocalBlobs, ids: Iterable[str]) -> dict[str, int]:
    """Return the number of references to these ids of every kind that has any.

    Receipts and tombstones do not count.
    """
    left: Counter[str] = Counter()
    waiting = iter(ids)
    while some := list(islice(waiting, IDS_AT_ONCE)):
        left.update(_count(session, blobs, some))
    return dict(left)


def _count(session: Session, blobs: LocalBlobs, ids: list[str]) -> dict[str, int]:
    counts = {
        "rows": _rows(session, Component.id.in_(ids)) + _rows(session, Dataset.id.in_(ids)),
        "parents": _rows(session, ComponentParent.component_id.in_(ids))
        + _rows(session, ComponentParent.parent_id.in_(ids)),
        "images": _rows(session, or_(Image.dataset_id.in_(ids), Image.id.in_(ids))),
        "events": _rows(session, ComponentEvent.component_id.in_(ids)),
        "compositions": _rows(session, CompositionMember.component_id.in_(ids))
        + _rows(session, or_(False, *(_mentions(id_, Composition.solved) for id_ in ids))),
        "evaluations": _rows(session, EvaluationMember.component_id.in_(ids))
        + _rows(session, Evaluation.dataset_id.in_(ids))
        + _rows(session, or_(False, *(_mentions(id_, *ANSWERS) for id_ in ids))),
        "batch_predictions": _rows(session, BatchPredictionMember.component_id.in_(ids))
        + _rows(session, BatchPrediction.dataset_id.in_(ids))
        + _rows(session, or_(False, *(_mentions(id_, *BATCHES) for id_ in ids))),
        "idempotency_keys": _rows(session, IdempotencyKey.resource_id.in_(ids)),
        "job_records": len(records_of(session, ids)),
        "blobs": sum(_files(blobs, folder) for id_ in ids for folder in folders(id_)),
        "scratch_files": sum(len(blobs.scratch_of(id_)) for id_ in ids),
    }
    return {kind: number for kind, number in counts.items() if number}


def count_replaced(
    session: Session, blobs: LocalBlobs, receipt_id: str, dataset_id: str | None
) -> dict[str, int]:
    """Return the number of old component files and image bytes that a dataset's change left."""
    keys = select(Tombstone.subject_id).where(
        Tombstone.receipt_id == receipt_id, Tombstone.subject_id.contains("/")
    )
    held = Quarantine(blobs)
    files = sum(
        path.is_file()
        for key in session.scalars(keys)
        for path in (blobs.path(key, must_exist=False), held.path(key))
    )
    stale = erasure.count_unerased(session, blobs, dataset_id) if dataset_id else 0
    counts = {"blobs": files, "image_bytes": stale}
    return {kind: number for kind, number in counts.items() if number}


def count_leftovers(sessions: sessionmaker[Session], blobs: LocalBlobs) -> dict[str, int]:
    """Return the number of files of batch predictions of which no row tells what made them."""
    with transaction(sessions) as session:
        number = sum(len(files) for files in leftovers.find(session, blobs))
    return {"batch_prediction_files": number} if number else {}


def folders(subject_id: str) -> tuple[str, str]:
    """Return the blob folders that a component or dataset with this id may have."""
    return f"components/{subject_id}", f"datasets/{subject_id}"


def _files(blobs: LocalBlobs, folder: str) -> int:
    return sum(1 for keys in (blobs.keys(folder), Quarantine(blobs).keys(folder)) for _ in keys)


def _rows(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(condition)) or 0


def _mentions(subject_id: str, *columns: Any) -> ColumnElement[bool]:
    texts = [cast(column, String) for column in columns]
    return or_(*(text.contains(subject_id, autoescape=True) for text in texts))
