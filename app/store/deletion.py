"""Deletion: all rows that go with a component or a dataset, and the receipt, in one transaction.

    with transaction(sessions) as session:
        deletion = forget_component(session, component_id)
    leftovers.clean(deletion, …)                               files after rows

The whole order, every step under the ledger's lock: lock the rows · note what the space looks like
· take the components, and weights solved with them, out of compositions · invalidate evaluations ·
delete rows · set tombstones · note what the space looks like now · append the receipt.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.store import (
    components,
    compositions,
    datasets,
    derivations,
    idempotency,
    receipts,
    residue,
    solutions,
    spaces,
)
from app.store.db import affected
from app.store.tables import (
    Component,
    ComponentEvent,
    ComponentParent,
    Dataset,
    Evaluation,
    EvaluationMember,
    Image,
    Receipt,
    Tombstone,
    new_id,
    now,
)


@dataclass(frozen=True)
class Deletion:
    """What was deleted; `leftovers.clean` removes the files and job records after the commit."""

    receipt: Receipt
    subject_ids: list[str]
    shas: list[str]  # of component files, for the caches that hold what was composed of them
    training: list[str]  # components whose job may be running


def forget_component(session: Session, component_id: str) -> Deletion:
    """Delete a component, whatever its status, and all that was derived from it.

    Raises:
        NotFound, Gone: as `components.get`; of two deletions at once, one gets the Gone.
    """
    receipts.lock(session)
    found = _locked(session, Component.id == component_id)
    if not found:
        components.get(session, component_id)
    found = _with_derived(session, found)
    return _forget(session, {"kind": "component", "id": component_id}, found, None)


def forget_dataset(session: Session, dataset_id: str, *, cascade: bool) -> Deletion:
    """Delete a dataset; with `cascade`, the components trained from it or derived by it as well.

    Raises:
        Conflict: `dataset_in_use` if there are any and `cascade` is false; names them.
        NotFound, Gone: as `datasets.get`.
    """
    receipts.lock(session)
    dataset = session.scalar(select(Dataset).where(Dataset.id == dataset_id).with_for_update())
    if dataset is None:
        dataset = datasets.get(session, dataset_id)
    found = _with_derived(session, _locked(session, Component.dataset_id == dataset_id))
    if found and not cascade:
        ids = [component.id for component in found]
        raise Conflict(
            "dataset_in_use",
            f"dataset {dataset_id} has trained {', '.join(ids)}, some by way of others: delete "
            "these first, or repeat with ?cascade=true to delete them as well",
            components=ids,
        )
    return _forget(session, {"kind": "dataset", "id": dataset_id}, found, dataset)


def _locked(session: Session, condition: ColumnElement[bool]) -> list[Component]:
    query = select(Component).where(condition).order_by(Component.id).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _with_derived(session: Session, found: list[Component]) -> list[Component]:
    """The locked components and all that was derived from them, by id, locked too."""
    # No more can come: what derives or imports takes the ledger's lock as well.
    further = derivations.descendants(session, [component.id for component in found])
    return sorted(
        [*found, *_locked(session, Component.id.in_(further))], key=lambda component: component.id
    )


def _forget(
    session: Session, subject: dict[str, str], found: list[Component], dataset: Dataset | None
) -> Deletion:
    ids = [component.id for component in found]
    subjects = [{"kind": "component", "id": each} for each in ids]
    if dataset is not None:
        subjects.append({"kind": "dataset", "id": dataset.id})
    receipt_id, salt = new_id("rcpt"), secrets.token_hex(16)
    touched = sorted({component.space for component in found})
    before = [_state(session, space) for space in touched]
    changed, unsolved = _leave_compositions(session, ids, dataset, receipt_id)
    evaluations = _invalidate(session, ids, dataset, receipt_id)
    removed = [_artefact(component) for component in found if component.sha256]
    removed += _delete_rows(session, ids, dataset, receipt_id)
    for each in subjects:
        session.add(Tombstone(subject_id=each["id"], receipt_id=receipt_id))
    session.flush()
    after = [_state(session, space) for space in touched]
    body = {
        "version": 1,
        "subject": subject,
        "subjects": subjects,
        "salt": salt,
        "salted_archive_sha256": _salted(salt, dataset.sha256) if dataset else None,
        "removed": removed,
        "invalidated": {
            "compositions": changed,
            "solved_weights": unsolved,
            "evaluations": evaluations,
        },
        "labels": [_labels_gone(salt, *pair) for pair in zip(before, after, strict=True)],
        "manifests": [_manifests(*pair) for pair in zip(before, after, strict=True)],
        "not_covered": list(residue.NOT_COVERED),
    }
    return Deletion(
        receipt=receipts.append(session, receipt_id=receipt_id, body=body),
        subject_ids=[each["id"] for each in subjects],
        shas=[component.sha256 for component in found if component.sha256],
        training=[each.id for each in found if each.status in components.ACTIVE],
    )


def _leave_compositions(
    session: Session, ids: Sequence[str], dataset: Dataset | None, receipt_id: str
) -> tuple[list[dict[str, str]], list[str]]:
    """Take the components out of every composition, and what was fitted with them.

    The compositions with both versions, and the names of those whose solved weights are gone.
    """
    changed, unsolved = [], []
    concerned = solutions.concerned(session, ids, dataset.id if dataset else None)
    for row, was_solved in concerned:
        old = compositions.etag(row)
        row.members[:] = [member for member in row.members if member.component_id not in ids]
        if was_solved:
            solutions.invalidate(row, receipt_id)
            unsolved.append(row.name)
        row.updated_at = now()
        changed.append({"name": row.name, "old_etag": old, "new_etag": compositions.etag(row)})
    session.flush()
    return changed, unsolved


def _invalidate(
    session: Session, ids: Sequence[str], dataset: Dataset | None, receipt_id: str
) -> list[str]:
    """Wipe every evaluation that used one of the components or the dataset; their ids."""
    using = select(EvaluationMember.evaluation_id).where(EvaluationMember.component_id.in_(ids))
    condition: ColumnElement[bool] = Evaluation.id.in_(using)
    if dataset is not None:
        condition = or_(condition, Evaluation.dataset_id == dataset.id)
    rows = list(session.scalars(select(Evaluation).where(condition).order_by(Evaluation.id)))
    for row in rows:
        parts = row.selection.get("components", [])
        kept = [part for part in parts if part["id"] not in ids]
        row.selection = row.selection | {"components": kept}
        row.result, row.status, row.invalidated_by = None, "invalidated", receipt_id
    session.flush()
    return [row.id for row in rows]


def _delete_rows(
    session: Session, ids: Sequence[str], dataset: Dataset | None, receipt_id: str
) -> list[dict[str, Any]]:
    """Delete the rows, those that refer to others first; how many of each kind."""
    gone = [*ids, dataset.id] if dataset else list(ids)
    counts = {"job_records": len(residue.job_records(session, ids))}  # they go after the commit
    counts["idempotency_keys"] = idempotency.bury(session, gone, receipt_id)
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


@dataclass(frozen=True)
class State:
    """What a space looks like at one moment of the transaction."""

    space: str
    labels: set[str]
    manifest: str
    components: int


def _state(session: Session, name: str) -> State:
    labels = set(spaces.labels(session, spaces.get(session, name)))
    return State(name, labels, *receipts.manifest(session, name))


def _manifests(before: State, after: State) -> dict[str, Any]:
    return {
        "space": before.space,
        "before": before.manifest,
        "components_before": before.components,
        "after": after.manifest,
        "components_after": after.components,
    }


def _labels_gone(salt: str, before: State, after: State) -> dict[str, Any]:
    gone = sorted(_salted(salt, label) for label in before.labels - after.labels)
    return {"space": before.space, "count": len(gone), "salted_sha256": gone}


def _artefact(component: Component) -> dict[str, Any]:
    """The component's file, by the hash of what we made: nobody can tell a data set by it."""
    return {
        "kind": "component_file",
        "id": component.id,
        "count": 1,
        "bytes": component.bytes,
        "sha256": component.sha256,
    }


def _salted(salt: str, content: str) -> str:
    # Who has the content can find it in a receipt, but no two receipts can be matched by it.
    return hashlib.sha256(f"{salt}:{content}".encode()).hexdigest()
