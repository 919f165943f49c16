"""What is left of a deleted component or dataset: nothing, or a list that says where.

Looked for where the service keeps things: rows, blobs, scratch files and the job engine's records.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, String, cast, func, or_, select
from sqlalchemy.orm import Session

from app.receipts import ledger
from app.store import pack_erasure
from app.store.blobs import LocalBlobs
from app.store.jobs import records_of
from app.store.tables import (
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
    Receipt,
    Tombstone,
)

NOT_COVERED = (
    "component files and images that were downloaded",
    "answers given and evaluations read before the deletion",
    "backups and replicas of the database and of the blob folder",
    "what a database server keeps of deleted rows until it cleans up, and its logs",
    "traces below the file system, such as unused blocks of the disk",
    "what the backbone was pre-trained on",
)
ANSWERS = Evaluation.selection, Evaluation.result
CHECKED = (
    "rows",
    "parents",
    "images",
    "image_bytes",
    "events",
    "compositions",
    "evaluations",
    "idempotency_keys",
    "job_records",
    "blobs",
    "scratch_files",
)


def verify(session: Session, blobs: LocalBlobs, receipt: Receipt) -> dict[str, Any]:
    """Whether the receipt still holds: the chain, nothing left, and the components that remained.

    `manifest_ok` is None where later deletions in the same space have moved on from it, and
    `signature_ok` where there is none.
    """
    broken, signature_ok = ledger.broken_at(session), ledger.signature_ok(session, receipt)
    found = left(session, blobs, subjects(receipt)) | _replaced(session, blobs, receipt)
    manifest_ok = _manifests_hold(session, receipt)
    return {
        "receipt_id": receipt.id,
        "ok": broken is None and not found and False not in (manifest_ok, signature_ok),
        "chain_ok": broken is None,
        "chain_broken_at": broken,
        "signature_ok": signature_ok,
        "manifest_ok": manifest_ok,
        "residue": [{"kind": kind, "count": count} for kind, count in found.items()],
        "checked": list(CHECKED),
        "not_covered": list(NOT_COVERED),
    }


def left(session: Session, blobs: LocalBlobs, ids: Iterable[str]) -> dict[str, int]:
    """How much of each kind still names one of these ids; receipts and tombstones aside."""
    ids = list(ids)
    counts = {
        "rows": _count(session, Component.id.in_(ids)) + _count(session, Dataset.id.in_(ids)),
        "parents": _count(session, ComponentParent.component_id.in_(ids))
        + _count(session, ComponentParent.parent_id.in_(ids)),
        "images": _count(session, or_(Image.dataset_id.in_(ids), Image.id.in_(ids))),
        "events": _count(session, ComponentEvent.component_id.in_(ids)),
        "compositions": _count(session, CompositionMember.component_id.in_(ids))
        + _count(session, or_(False, *(_mentions(each, Composition.solved) for each in ids))),
        "evaluations": _count(session, EvaluationMember.component_id.in_(ids))
        + _count(session, Evaluation.dataset_id.in_(ids))
        + _count(session, or_(False, *(_mentions(each, *ANSWERS) for each in ids))),
        "idempotency_keys": _count(session, IdempotencyKey.resource_id.in_(ids)),
        "job_records": len(records_of(session, ids)),
        "blobs": sum(len(list(blobs.keys(folder))) for each in ids for folder in folders(each)),
        "scratch_files": sum(len(blobs.scratch_of(each)) for each in ids),
    }
    return {kind: count for kind, count in counts.items() if count}


def _replaced(session: Session, blobs: LocalBlobs, receipt: Receipt) -> dict[str, int]:
    """What a change of a dataset was to remove and has not: old component files, image bytes."""
    keys = select(Tombstone.subject_id).where(
        Tombstone.receipt_id == receipt.id, Tombstone.subject_id.contains("/")
    )
    files = sum(blobs.path(key, must_exist=False).is_file() for key in session.scalars(keys))
    dataset_id = receipt.body.get("dataset_id") if isinstance(receipt.body, dict) else None
    named = isinstance(dataset_id, str)
    counts = {
        "blobs": files,
        "image_bytes": pack_erasure.left(session, blobs, str(dataset_id)) if named else 0,
    }
    return {kind: count for kind, count in counts.items() if count}


def folders(subject_id: str) -> tuple[str, str]:
    """Where the blobs of a component or dataset lie."""
    return f"components/{subject_id}", f"datasets/{subject_id}"


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(condition)) or 0


def _mentions(subject_id: str, *columns: Any) -> ColumnElement[bool]:
    texts = [cast(each, String) for each in columns]
    return or_(*(text.contains(subject_id, autoescape=True) for text in texts))


def parts(receipt: Receipt, name: str) -> list[dict[str, Any]]:
    """A list of the receipt's body; empty where the body was tampered with and has none."""
    found = receipt.body.get(name) if isinstance(receipt.body, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def subjects(receipt: Receipt) -> list[str]:
    """The ids of what the receipt says was deleted."""
    return [str(each.get("id")) for each in parts(receipt, "subjects")]


def manifests(receipt: Receipt) -> dict[str, str]:
    """The spaces that the receipt says were changed, each with its manifest afterwards."""
    told = [(entry.get("space"), entry.get("after")) for entry in parts(receipt, "manifests")]
    return {s: after for s, after in told if isinstance(s, str) and isinstance(after, str)}


def _manifests_hold(session: Session, receipt: Receipt) -> bool | None:
    """Whether the components ready at the time and not deleted since are those of the receipt."""
    spaces = manifests(receipt)
    later = session.scalars(select(Receipt).where(Receipt.number > receipt.number))
    changed = {space for other in later for space in manifests(other)}
    answers = {
        ledger.manifest(session, space, before=receipt.created_at)[0] == after
        for space, after in spaces.items()
        if space not in changed
    }
    if False in answers:
        return False
    return None if changed & set(spaces) else True
