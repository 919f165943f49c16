"""Damaged files: a component fails with the reason, an image is marked, until they are whole again.

    note(sessions, blobs, lost)               as soon as anything has met a `DamagedFile`
    mend(sessions, blobs)                     at every start
    note_images(sessions, dataset, ids)       as soon as anything has met other bytes

The row keeps the name and the hash of its file. So a file that is put back from a backup serves
from the next start or scrub (app.store.scrub), and a folder that was away for a moment loses
nothing. Nothing is trained again without a request: a disk that is going, or a folder that is not
mounted, would have all components trained.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from app.database.changes import note_rows
from app.database.chunks import chunks
from app.database.row_checksums import KEPT, was_kept
from app.database.sessions import affected, hold_write_lock, transaction
from app.database.tables import Component, Dataset, Image, Space, now
from app.files import component_files, intents
from app.files.blobs import LocalBlobs
from app.files.component_files import DamagedFile
from app.store import components, retraining
from app.store.members import DAMAGED, is_damaged

HOW_TO_MEND = "put the pack back from a backup, or delete these images"

log = logging.getLogger(__name__)


def note(sessions: sessionmaker[Session], blobs: LocalBlobs, lost: DamagedFile) -> bool:
    """Fail the ready component whose row names the file; False if none does any more.

    A refinement that the service has made is replaced: the next answer queues another one.
    """
    if not blobs.root.is_dir():
        return False  # the whole folder is away
    with transaction(sessions) as session:
        hold_write_lock(session)
        named = Component.blob_key == lost.key, Component.sha256 == lost.sha256
        row = session.scalar(
            select(Component).where(*named, Component.status == "ready").with_for_update()
        )
        if row is None:
            return False
        if row.automatic:
            intents.give_up(session, blobs, lost.key)
            components.withdraw(session, row.id)
            row.replaced_at = now()
        else:
            error = {"code": DAMAGED, "detail": lost.detail}
            components.move(session, row.id, "spoil", error=error)
            components.add_event(session, row.id, "status", status="failed", error=error)
        retraining.note_change(session, session.get_one(Space, row.space))
        note_rows(session, row.id)
        component_id = row.id
    log.error("component %s is damaged: %s", component_id, lost.detail)
    return True


def mend(sessions: sessionmaker[Session], blobs: LocalBlobs) -> list[str]:
    """Make every damaged component ready whose file is whole again; return their ids."""
    with transaction(sessions) as session:
        query = select(Component).where(is_damaged()).order_by(Component.id)
        found = session.scalars(query.execution_options(**KEPT))
        rows = [row for row in found if not was_kept(row)]
    mended = []
    for row in rows:
        whole = component_files.is_intact(blobs, str(row.blob_key), row.sha256)
        if whole and restore(sessions, row):
            mended.append(row.id)
    return mended


def restore(sessions: sessionmaker[Session], row: Component) -> bool:
    """Make the damaged component ready, as its file is whole; False if it has changed since."""
    with transaction(sessions) as session:
        hold_write_lock(session)
        same = is_damaged(), Component.blob_key == row.blob_key, Component.sha256 == row.sha256
        if not components.move(session, row.id, "restore", *same):
            return False
        components.add_event(session, row.id, "status", status="ready", reason="file_restored")
        retraining.note_change(session, session.get_one(Space, row.space))
        note_rows(session, row.id)
    log.warning("component %s is ready again: its file is whole", row.id)
    return True


def note_images(
    sessions: sessionmaker[Session],
    dataset: Dataset,
    ids: Sequence[str],
    *,
    damaged: bool = True,
) -> int:
    """Mark the images as damaged, or as whole again; return how many were marked otherwise.

    An image that was deleted in the meantime has no row any more, and is not damaged. Nor is one of
    a dataset that has got another pack since its row was read.
    """
    changed, dataset_id = 0, dataset.id
    with transaction(sessions) as session:
        hold_write_lock(session)
        pack = select(Dataset.pack_key).where(Dataset.id == dataset_id)
        if session.scalar(pack) != dataset.pack_key:
            return 0
        for some in chunks(ids):
            rows = Image.dataset_id == dataset_id, Image.id.in_(some)
            mine = *rows, Image.damaged.is_not(damaged)
            changed += affected(session, update(Image).where(*mine).values(damaged=damaged))
        if changed:
            marked = select(func.count()).where(Image.dataset_id == dataset_id, Image.damaged)
            number = update(Dataset).where(Dataset.id == dataset_id)
            affected(session, number.values(damaged_images=marked.scalar_subquery()))
            note_rows(session, dataset_id)
    news = dataset_id, changed, ids[0]
    if changed and damaged:
        log.error("dataset %s has %d more damaged images, such as %s: %s", *news, HOW_TO_MEND)
    elif changed:
        log.warning("dataset %s has %d images whole again, such as %s", *news)
    return changed
