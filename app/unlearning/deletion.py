"""The deletion: one transaction that removes and changes rows and appends the receipt.

    with transaction(sessions) as session:
        deletion = apply(session, change.of_component(session, component_id))
    cleanup.finish(deletion, …)                              files after rows

The order never changes. The write lock is held and the rows are locked. Then `apply` notes the
spaces as they are · takes the components, and weights fitted with them, out of compositions, and
invalidates evaluations and batch predictions · deletes and edits rows · sets tombstones · notes the
spaces again · appends the receipt.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Delete, delete, func, or_, select
from sqlalchemy.orm import Session

from app.access.callers import LOCAL
from app.archives.packs import Place
from app.database.jobs import records_of
from app.database.sessions import affected
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Component,
    ComponentEvent,
    ComponentParent,
    Composition,
    Dataset,
    Evaluation,
    EvaluationMember,
    Image,
    Receipt,
    Space,
    Tombstone,
    now,
    stamp,
)
from app.datasets import privacy_sharing
from app.datasets.training_images import label_counts, training_only
from app.files.blobs import LocalBlobs
from app.files.erasure import freed
from app.parts import Signer
from app.receipts import ledger, remaining
from app.receipts.body import (
    NOT_COVERED,
    AlsoHeld,
    BodyV3,
    ComponentOutcome,
    Invalidated,
    LostLabels,
    Removed,
    SpaceManifest,
    code,
    environment,
    salted,
    written,
)
from app.receipts.remaining import Snapshot
from app.store import components, idempotency
from app.store.counts import deletions_so_far
from app.unlearning import also_held, dataset_edit, invalidation
from app.unlearning.change import Change

AnswerHash = Callable[[Session, str], dict[str, Any]]  # of a space, as the transaction sees it


@dataclass(frozen=True)
class DeletionContext:
    """The request's time and caller, and what its receipt is made with."""

    requested_at: datetime = field(default_factory=now)
    signer: Signer | None = None
    answer_hash: AnswerHash | None = None
    requested_by: str = LOCAL
    blobs: LocalBlobs | None = None  # to find copies that differ in their statistics


@dataclass(frozen=True)
class Obsolete:
    """Files, jobs and cached sums that no row needs once the transaction is committed."""

    subject_ids: list[str]  # of removed components and datasets
    shas: list[str]  # of component files, for the caches of what was composed of them
    training: list[str]  # jobs that may be running
    jobs: list[str]  # jobs of which the engine has records
    files: list[str]  # keys of blobs that were replaced, or made with what is gone
    passes: list[str]  # ids of batch predictions that were made with it
    evaluations: list[str]  # ids of those whose answers may be on their way
    scratch: list[Path]  # of attempts that were lost


@dataclass(frozen=True)
class Deletion:
    """A receipt, and what `cleanup.finish` removes after the commit."""

    receipt: Receipt
    obsolete: Obsolete
    erased: tuple[str, list[Place]] | None  # a pack's key, and the places that no image covers


@dataclass(frozen=True)
class RowChanges:
    """The receipt's account of the rows; hashes of users' data are salted."""

    salt: str
    archive: str | None
    images: tuple[str, ...] | None  # of a dataset that stays
    also_held: AlsoHeld | None
    invalidated: Invalidated
    removed: tuple[Removed, ...]
    outcomes: tuple[ComponentOutcome, ...] | None


def apply(session: Session, change: Change, context: DeletionContext | None = None) -> Deletion:
    """Carry out the change in the session's transaction, and append its receipt.

    Raises:
        NotReady: as the context's answer hash.
    """
    context, edit = context or DeletionContext(), change.edit
    spaces = change.spaces
    before = [remaining.snapshot(session, space) for space in spaces]
    obsolete = _obsolete(session, change)
    rows = _change_rows(session, change, obsolete, context.blobs)
    after = [remaining.snapshot(session, space) for space in spaces]
    body = _body(session, change, context, rows, list(zip(before, after, strict=True)))
    receipt = ledger.append(
        session, receipt_id=change.receipt_id, body=written(body), signer=context.signer
    )
    if edit is None or edit.added is not None:
        return Deletion(receipt, obsolete, None)
    places = freed(session, edit.dataset.id, edit.images)
    return Deletion(receipt, obsolete, (edit.dataset.pack_key, places))


def _obsolete(session: Session, change: Change) -> Obsolete:
    kept = change.edit.components if change.edit else []
    ids = [row.id for row in change.components]
    lost = [row for row in kept if row.status == "training"]
    lost += change.edit.restarted if change.edit else []
    ended = [row for row in change.components if row.status in components.ACTIVE]
    files = [str(row.blob_key) for row in kept if row.sha256]
    if change.edit is not None and change.edit.added is not None:
        files.append(change.edit.dataset.pack_key)
    return Obsolete(
        subject_ids=[*ids, change.dataset.id] if change.dataset else ids,
        shas=[str(row.sha256) for row in change.stored],
        training=[row.job_id for row in [*lost, *ended]],
        jobs=sorted(records_of(session, ids)) if ids else [],
        files=files,
        passes=[],
        evaluations=[],
        scratch=change.edit.scratch if change.edit else [],
    )


def _change_rows(
    session: Session, change: Change, obsolete: Obsolete, blobs: LocalBlobs | None
) -> RowChanges:
    dataset = change.edit.dataset if change.edit else change.dataset
    images = change.edit.images if change.edit else None
    salt = secrets.token_hex(16)
    archive = salted(salt, dataset.sha256) if dataset and dataset.sha256 else None
    image_hashes = None if images is None else tuple(salted(salt, row.sha256) for row in images)
    held = also_held.of_change(session, blobs, change)
    invalidated, files, removed_files = invalidation.invalidate(session, change)
    obsolete.files.extend(files)
    obsolete.passes.extend(invalidated.batch_predictions or ())
    obsolete.evaluations.extend(invalidated.evaluations)
    removed = [_file(row) for row in change.stored] + removed_files
    if change.edit is None and obsolete.jobs:
        removed.append(Removed(kind="job_records", count=len(obsolete.jobs)))
    if dataset is not None:
        privacy_sharing.carry(session, dataset.id, stays=change.edit is not None)
    removed += _delete_rows(session, change)
    gone = [*(subject.id for subject in change.subjects), *obsolete.files]
    outcomes = None
    if change.edit is not None:
        outcomes, counts = dataset_edit.edit_rows(session, change.edit, change.receipt_id)
        removed += counts
    gone += [id_ for id_ in obsolete.passes if session.get(Tombstone, id_) is None]
    session.add_all(Tombstone(subject_id=id_, receipt_id=change.receipt_id) for id_ in gone)
    session.flush()
    return RowChanges(salt, archive, image_hashes, held, invalidated, tuple(removed), outcomes)


def _delete_rows(session: Session, change: Change) -> list[Removed]:
    """Delete the rows of components and dataset, rows that refer to others first; count them."""
    ids, dataset = [row.id for row in change.components], change.dataset
    if not ids and dataset is None and change.space is None:
        return []
    keys = [idempotency.of_resources([*ids, dataset.id] if dataset else ids)]
    keys += [idempotency.of_dataset(dataset.id)] if dataset else []
    keys += [idempotency.of_space(change.space.name)] if change.space else []
    counts = {"idempotency_keys": idempotency.bury(session, or_(*keys), change.receipt_id)}
    removed: list[Removed] = []
    ours = or_(ComponentParent.component_id.in_(ids), ComponentParent.parent_id.in_(ids))
    rows: dict[str, Delete] = {
        "evaluation_members": delete(EvaluationMember).where(
            EvaluationMember.component_id.in_(ids)
        ),
        "batch_prediction_members": delete(BatchPredictionMember).where(
            BatchPredictionMember.component_id.in_(ids)
        ),
        "events": delete(ComponentEvent).where(ComponentEvent.component_id.in_(ids)),
        "parents": delete(ComponentParent).where(ours),
        "components": delete(Component).where(Component.id.in_(ids)),
    }
    if dataset is not None:
        size = func.coalesce(func.sum(Image.pack_length), 0)
        stored = session.scalar(select(size).where(Image.dataset_id == dataset.id))
        removed.append(Removed(kind="image_pack", count=1, bytes=int(stored or 0)))
        rows["images"] = delete(Image).where(Image.dataset_id == dataset.id)
        rows["datasets"] = delete(Dataset).where(Dataset.id == dataset.id)
    if change.space is not None:
        rows |= _of_space(change.space.name)
    counts |= {kind: affected(session, statement) for kind, statement in rows.items()}
    return removed + [Removed(kind=kind, count=count) for kind, count in counts.items() if count]


def _of_space(name: str) -> dict[str, Delete]:
    """Return the statements that delete what refers to a space, and the space."""
    return {
        "evaluations": delete(Evaluation).where(Evaluation.space == name),
        "batch_predictions": delete(BatchPrediction).where(BatchPrediction.space == name),
        "compositions": delete(Composition).where(Composition.space == name),
        "spaces": delete(Space).where(Space.name == name),
    }


def _file(row: Component) -> Removed:
    return Removed(kind="component_file", id=row.id, count=1, bytes=row.bytes, sha256=row.sha256)


def _body(
    session: Session,
    change: Change,
    context: DeletionContext,
    rows: RowChanges,
    spaces: list[tuple[Snapshot, Snapshot]],
) -> BodyV3:
    dataset, answer_hash = change.edit.dataset if change.edit else None, context.answer_hash
    added = change.edit.added if change.edit else None
    # What a dataset that stays trains on comes back with its components' trainings.
    awaited = set(label_counts(session, dataset, training_only())) if dataset else set()
    return BodyV3(
        requested_at=stamp(context.requested_at),
        requested_by=context.requested_by,
        epoch=deletions_so_far(session) + 1,
        subject=change.subject,
        subjects=change.subjects,
        dataset_id=dataset.id if dataset else None,
        salt=rows.salt,
        salted_archive_sha256=rows.archive,
        salted_image_sha256=rows.images,
        added_images=len(added.rows) if added else None,
        removed=rows.removed,
        invalidated=rows.invalidated,
        also_held=rows.also_held,
        components=rows.outcomes,
        labels=tuple(_lost_labels(rows.salt, *pair, awaited) for pair in spaces),
        manifests=tuple(_manifest(*pair) for pair in spaces),
        not_covered=NOT_COVERED,
        probes=answer_hash and tuple(answer_hash(session, space.space) for space, _ in spaces),
        code=code(),
        environment=environment(),
    )


def _manifest(before: Snapshot, after: Snapshot) -> SpaceManifest:
    return SpaceManifest(
        space=before.space,
        before=before.manifest,
        components_before=before.components,
        after=after.manifest,
        components_after=after.components,
    )


def _lost_labels(salt: str, before: Snapshot, after: Snapshot, awaited: set[str]) -> LostLabels:
    lost = sorted(salted(salt, label) for label in before.labels - after.labels - awaited)
    return LostLabels(space=before.space, count=len(lost), salted_sha256=tuple(lost))
