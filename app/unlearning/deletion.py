"""Deletion: all rows that go with a component or a dataset, and the receipt, in one transaction.

    with transaction(sessions) as session:
        deletion = forget_component(session, component_id)
    cleanup.clean(deletion, …)                               files after rows

The whole order, every step under the ledger's lock: lock the rows · note what the space looks like
· take the components, and weights solved with them, out of compositions · invalidate evaluations ·
delete rows · set tombstones · note what the space looks like now · append the receipt.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from app.archives.packs import Place
from app.errors import Conflict
from app.receipts import body as statements
from app.receipts import ledger, residue, states
from app.receipts.body import Circumstances
from app.store import components, datasets, idempotency, lineage, write_lock
from app.store.db import affected
from app.store.jobs import records_of
from app.store.tables import (
    Component,
    ComponentEvent,
    ComponentParent,
    Dataset,
    EvaluationMember,
    Image,
    Receipt,
    Tombstone,
    new_id,
)
from app.unlearning import invalidation


@dataclass(frozen=True)
class Deletion:
    """What was deleted; `cleanup.clean` removes the files and job records after the commit."""

    receipt: Receipt
    subject_ids: list[str]
    shas: list[str]  # of component files, for the caches that hold what was composed of them
    training: list[str]  # jobs that may be running
    jobs: list[str]  # jobs of which the engine has records
    files: list[str] = field(default_factory=list)  # keys of blobs that no row names any more
    scratch: list[Path] = field(default_factory=list)  # of attempts that were lost
    erased: tuple[str, list[Place]] | None = None  # a pack's key, and what no image covers in it


def forget_component(
    session: Session, component_id: str, how: Circumstances | None = None
) -> Deletion:
    """Delete a component, whatever its status, and all that was derived from it.

    Raises:
        NotFound, Gone: as `components.get`; of two deletions at once, one gets the Gone.
    """
    write_lock.hold(session)
    found = locked(session, Component.id == component_id)
    if not found:
        components.get(session, component_id)
    found = with_derived(session, found)
    return _forget(session, {"kind": "component", "id": component_id}, found, None, how)


def forget_dataset(
    session: Session, dataset_id: str, how: Circumstances | None = None, *, cascade: bool
) -> Deletion:
    """Delete a dataset; with `cascade`, the components trained from it or derived by it as well.

    Raises:
        Conflict: `dataset_in_use` if there are any and `cascade` is false; names them.
        NotFound, Gone: as `datasets.get`.
    """
    write_lock.hold(session)
    dataset = session.scalar(select(Dataset).where(Dataset.id == dataset_id).with_for_update())
    if dataset is None:
        dataset = datasets.get(session, dataset_id)
    found = with_derived(session, locked(session, Component.dataset_id == dataset_id))
    if found and not cascade:
        ids = [component.id for component in found]
        raise Conflict(
            "dataset_in_use",
            f"dataset {dataset_id} has trained {', '.join(ids)}, some by way of others: delete "
            "these first, or repeat with ?cascade=true to delete them as well",
            components=ids,
        )
    return _forget(session, {"kind": "dataset", "id": dataset_id}, found, dataset, how)


def locked(session: Session, condition: ColumnElement[bool]) -> list[Component]:
    """The components, by id, which nobody else changes until the transaction ends."""
    query = select(Component).where(condition).order_by(Component.id).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def with_derived(session: Session, found: list[Component]) -> list[Component]:
    """The locked components and all that was derived from them, by id, locked too."""
    # No more can come: what derives or imports takes the ledger's lock as well.
    further = lineage.descendants(session, [component.id for component in found])
    return sorted(
        [*found, *locked(session, Component.id.in_(further))], key=lambda component: component.id
    )


def _forget(
    session: Session,
    subject: dict[str, str],
    found: list[Component],
    dataset: Dataset | None,
    how: Circumstances | None,
) -> Deletion:
    how = how or Circumstances()
    ids = [component.id for component in found]
    subjects = [{"kind": "component", "id": each} for each in ids]
    if dataset is not None:
        subjects.append({"kind": "dataset", "id": dataset.id})
    receipt_id, salt = new_id("rcpt"), secrets.token_hex(16)
    archive = states.salted(salt, dataset.sha256) if dataset and dataset.sha256 else None
    touched = sorted({component.space for component in found})
    before = [states.state(session, space) for space in touched]
    dataset_id = dataset.id if dataset else None
    invalidated = invalidation.of(session, ids, dataset_id, receipt_id, gone=True)
    jobs = records_of(session, ids)
    removed = [artefact(component) for component in found if component.blob_key]
    removed += [{"kind": "job_records", "count": len(jobs)}] if jobs else []
    removed += delete_rows(session, ids, dataset, receipt_id)
    for each in subjects:
        session.add(Tombstone(subject_id=each["id"], receipt_id=receipt_id))
    session.flush()
    after = [states.state(session, space) for space in touched]
    deleted = {
        "subject": subject,
        "subjects": subjects,
        "salt": salt,
        "salted_archive_sha256": archive,
        "removed": removed,
        "invalidated": invalidated,
        "labels": [states.labels_gone(salt, *pair) for pair in zip(before, after, strict=True)],
        "manifests": [states.manifests(*pair) for pair in zip(before, after, strict=True)],
        "not_covered": list(residue.NOT_COVERED),
    }
    body = statements.body(session, how, touched, deleted)
    return Deletion(
        receipt=ledger.append(session, receipt_id=receipt_id, body=body, signer=how.signer),
        subject_ids=[each["id"] for each in subjects],
        shas=[component.sha256 for component in found if component.sha256],
        training=[each.job_id for each in found if each.status in components.ACTIVE],
        jobs=sorted(jobs),
    )


def delete_rows(
    session: Session, ids: Sequence[str], dataset: Dataset | None, receipt_id: str
) -> list[dict[str, Any]]:
    """Delete the rows, those that refer to others first; how many of each kind."""
    gone = [*ids, dataset.id] if dataset else list(ids)
    counts = {"idempotency_keys": idempotency.bury(session, gone, receipt_id)}
    counts["evaluation_members"] = affected(
        session, delete(EvaluationMember).where(EvaluationMember.component_id.in_(ids))
    )
    counts["events"] = affected(
        session, delete(ComponentEvent).where(ComponentEvent.component_id.in_(ids))
    )
    ours = or_(ComponentParent.component_id.in_(ids), ComponentParent.parent_id.in_(ids))
    counts["parents"] = affected(session, delete(ComponentParent).where(ours))
    counts["components"] = affected(session, delete(Component).where(Component.id.in_(ids)))
    removed: list[dict[str, Any]] = []
    if dataset is not None:
        size = func.coalesce(func.sum(Image.pack_length), 0)
        stored = session.scalar(select(size).where(Image.dataset_id == dataset.id))
        removed.append({"kind": "image_pack", "count": 1, "bytes": int(stored or 0)})
        counts["images"] = affected(session, delete(Image).where(Image.dataset_id == dataset.id))
        counts["datasets"] = affected(session, delete(Dataset).where(Dataset.id == dataset.id))
    return removed + [{"kind": kind, "count": count} for kind, count in counts.items() if count]


def artefact(component: Component) -> dict[str, Any]:
    """The component's file, by the hash of what we made: nobody can tell a data set by it."""
    return {
        "kind": "component_file",
        "id": component.id,
        "count": 1,
        "bytes": component.bytes,
        "sha256": component.sha256,
    }
