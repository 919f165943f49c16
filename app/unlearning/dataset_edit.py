"""Edits of a dataset that stays: its image rows, its numbers, and the components trained from it.

A ready component takes its down-dated file at once. Any other that has seen the old data loses its
file and is queued again, as its next generation; one that is still queued has not begun.
"""

from collections import defaultdict
from typing import Any

from sqlalchemy import case, delete, func, or_, select
from sqlalchemy.orm import Session

from app.archives.groups import joined
from app.archives.outcomes import MAX_LISTED_REJECTIONS
from app.archives.splits import strictest
from app.database.chunks import chunks
from app.database.sessions import affected
from app.database.tables import Component, ComponentEvent, Dataset, Image
from app.datasets import datasets, image_rows
from app.datasets.training_images import label_counts, training_only
from app.receipts.body import ComponentOutcome, Removed
from app.store import components
from app.unlearning import freed_splits
from app.unlearning.change import DatasetEdit
from app.unlearning.change_plan import Correction, NewImages
from tangent.vocabulary import L2_CHOSEN_BY

ENDED = ("failed", "cancelled")  # trainings that ended without a file


def edit_rows(
    session: Session, edit: DatasetEdit, receipt_id: str
) -> tuple[tuple[ComponentOutcome, ...], list[Removed]]:
    """Edit the rows; return the outcome of every component that has one, and the removed rows."""
    _edit_images(session, edit)
    mine = ComponentEvent.component_id.in_([row.id for row in edit.components])
    last = session.scalar(select(func.max(ComponentEvent.id)).where(mine)) or 0
    trained = label_counts(session, edit.dataset, training_only())
    revised = [_revise(session, edit, row, trained, receipt_id) for row in edit.components]
    outcomes = [outcome for outcome in revised if outcome is not None]
    outcomes += [_unaffected(row) for row in edit.unaffected]
    outcomes += [_restart(session, edit, row, receipt_id) for row in edit.restarted]
    counts = {"images": len(edit.images), "events": _delete_events(session, edit, last)}
    _redact_events(session, edit, last)
    removed = [Removed(kind=kind, count=count) for kind, count in counts.items() if count]
    return tuple(outcomes), removed


def _edit_images(session: Session, edit: DatasetEdit) -> None:
    if edit.renamed:
        _rename(session, edit)
    if edit.corrected is not None:
        _correct(session, edit, edit.corrected)
    for some in chunks([image.id for image in edit.images]):
        session.execute(delete(Image).where(Image.id.in_(some)))
    freed_splits.apply(session, edit.freed)
    if edit.added is not None:
        _add(session, edit, edit.added)
    _count(session, edit.dataset)
    edit.dataset.files = edit.added.files if edit.added else None
    edit.dataset.revision += 1
    session.flush()


def _rename(session: Session, edit: DatasetEdit) -> None:
    """Give the images their new labels; an image that stays counts the copies of its equals.

    It has the groups and the strictest own split of all of them, as in an upload of them under
    one label.
    """
    gone = {image.id for image in edit.images}
    kept: dict[tuple[str, str], Image] = {}
    copies: defaultdict[tuple[str, str], int] = defaultdict(int)
    groups: dict[tuple[str, str], str | None] = {}
    splits: defaultdict[tuple[str, str], str | None] = defaultdict(lambda: None)
    for image in sorted(datasets.rows(session, edit.dataset.id), key=lambda image: image.id):
        label = edit.renamed.get(image.label, image.label)
        copies[label, image.sha256] += image.copies
        groups[label, image.sha256] = joined((groups.get((label, image.sha256)), image.group))
        splits[label, image.sha256] = strictest((splits[label, image.sha256], image.own_split))
        if image.id not in gone:
            kept[label, image.sha256] = image
    for (label, sha256), image in kept.items():
        image.label, image.copies = label, copies[label, sha256]
        image.group, image.own_split = groups[label, sha256], splits[label, sha256]
    session.flush()


def _correct(session: Session, edit: DatasetEdit, corrected: Correction) -> None:
    """Give the image its new label; one that stays takes over what was told of its equal."""
    kept = session.get_one(Image, corrected.kept, populate_existing=True)
    kept.label = corrected.label
    equal = {corrected.image.id, *(image.id for image in edit.images)} - {kept.id}
    for other in session.scalars(select(Image).where(Image.id.in_(equal))):
        kept.copies += other.copies
        kept.group = joined((kept.group, other.group))
        kept.own_split = strictest((kept.own_split, other.own_split))
    session.flush()


def _add(session: Session, edit: DatasetEdit, new: NewImages) -> None:
    """Add the new images' rows, and name the pack that has them."""
    dataset, rejected = edit.dataset, new.upload.rejected
    assert edit.pack is not None
    edit.pack.settle(session)
    dataset.pack_key, dataset.pack_bytes = edit.pack.key, new.end
    dataset.rejected = [*dataset.rejected, *rejected.listed][:MAX_LISTED_REJECTIONS]
    dataset.num_rejected += rejected.count
    image_rows.add(session, new.rows)
    for some in chunks(list(new.merged)):
        for image in session.scalars(select(Image).where(Image.id.in_(some))):
            copies, image.split, image.own_split, image.group = new.merged[image.id]
            image.copies += copies
    session.flush()


def _count(session: Session, dataset: Dataset) -> None:
    """Set the dataset's numbers from its rows.

    The archive's hash goes, and its size becomes that of the images' files, as both describe other
    images than are there.
    """
    of = Image.dataset_id == dataset.id
    by_split = select(Image.split, func.count()).where(of).group_by(Image.split)
    splits = [(split, count) for split, count in session.execute(by_split) if split]
    totals = select(
        func.sum(Image.pack_length),
        func.sum(Image.copies),
        func.count(func.distinct(Image.sha256)),
        func.sum(case((Image.damaged, 1), else_=0)),
    )
    size, copies, contents, damaged = session.execute(totals.where(of)).one()
    dataset.labels = label_counts(session, dataset)
    dataset.splits = dict(sorted(splits))
    dataset.num_images = sum(dataset.labels.values())
    dataset.sha256 = None
    dataset.bytes, dataset.duplicates = int(size), int(copies) - contents
    dataset.damaged_images = int(damaged)


def _revise(
    session: Session,
    edit: DatasetEdit,
    row: Component,
    trained: dict[str, int],
    receipt_id: str,
) -> ComponentOutcome | None:
    """Bring one component to the new data; None if its training has ended without a file."""
    status, row.progress = row.status, {}
    # Only noise may tell how many images a private one had.
    row.labels = dict.fromkeys(row.privacy["labels"], 0) if row.privacy else dict(trained)
    if status in ENDED:
        _drop_file(row)
        _redact(row, edit.images)
        return None
    file = edit.files.get(row.id)
    if status == "ready" and file is not None:
        outcome = ComponentOutcome(
            id=row.id,
            outcome=edit.outcome,
            old_sha256=row.sha256,
            new_sha256=file.sha256,
        )
        file.blob.settle(session)
        row.blob_key, row.sha256, row.bytes = file.blob.key, file.sha256, file.bytes
        kept = {name: row.metrics[name] for name in ("environment",) if name in row.metrics}
        if row.hyperparameters.get("choose_l2"):
            kept["l2_chosen_by"] = L2_CHOSEN_BY
        row.labels, row.metrics = file.labels, kept | {"l2": file.l2}
    else:
        outcome = ComponentOutcome(
            id=row.id, outcome="queued" if status == "queued" else "retraining"
        )
    event = {"outcome": outcome.outcome, "receipt_id": receipt_id}
    session.flush()
    if outcome.outcome == "retraining":
        components.requeue(session, edit.jobs, row.id, **event)
    else:
        components.add_event(session, row.id, "status", status=status, **event)
    return outcome


def _unaffected(row: Component) -> ComponentOutcome:
    """Return the outcome of a component that was never trained with what changes."""
    same = row.sha256
    return ComponentOutcome(id=row.id, outcome="unaffected", old_sha256=same, new_sha256=same)


def _restart(
    session: Session, edit: DatasetEdit, row: Component, receipt_id: str
) -> ComponentOutcome:
    """Queue again what reads a pack that goes, as it opens it for every pass over the images."""
    outcome = ComponentOutcome(id=row.id, outcome="retraining")
    components.requeue(session, edit.jobs, row.id, outcome=outcome.outcome, receipt_id=receipt_id)
    return outcome


def _drop_file(row: Component) -> None:
    """Drop a damaged file, which has seen the old data, and the advice to restore it."""
    if row.blob_key is not None:
        again = "" if row.privacy else f", or POST /v1/components/{row.id}/retrain"
        cause = "the file was damaged, and has gone as its dataset was changed"
        row.error = (row.error or {}) | {"detail": f"{cause}: delete the component{again}"}
    row.blob_key = row.sha256 = row.bytes = None


def _redact(row: Component, images: list[Image]) -> None:
    """Remove the error's text if it names one of the images."""
    row.error = _redacted(row.error, images)


def _redacted(error: dict[str, Any] | None, images: list[Image]) -> dict[str, Any] | None:
    if error and any(image.path in error.get("detail", "") for image in images):
        return error | {"detail": "the image that failed was deleted: train again"}
    return error


def _redact_events(session: Session, edit: DatasetEdit, last: int) -> None:
    """Remove the errors' texts that name one of the images from events up to the last one."""
    ended = [row.id for row in edit.components if row.status in ENDED]
    mine = ComponentEvent.component_id.in_(ended), ComponentEvent.id <= last
    for event in session.scalars(select(ComponentEvent).where(*mine)):
        if event.data.get("error"):
            event.data = event.data | {"error": _redacted(event.data["error"], edit.images)}


def _delete_events(session: Session, edit: DatasetEdit, last: int) -> int:
    """Delete events up to the last one before the edit; return their number.

    They show losses and accuracies on the old data. The status events of trainings that ended
    without a file stay. Newer events have higher numbers, so clients that follow miss none.
    """
    ids = [row.id for row in edit.components]
    ended = [row.id for row in edit.components if row.status in ENDED]
    stale = or_(ComponentEvent.component_id.not_in(ended), ComponentEvent.type == "progress")
    mine = ComponentEvent.component_id.in_(ids), ComponentEvent.id <= last
    return affected(session, delete(ComponentEvent).where(*mine, stale))
