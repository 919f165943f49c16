"""Erasure of stored bytes: blobs that no row can name, and images that no row covers in a pack.

Rows are deleted first. If the process dies before their bytes are erased, `remove_orphans` and
`finish_erasures` erase them later.
"""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.archives import packs
from app.archives.packs import Place
from app.store.blobs import BlobMissing, LocalBlobs
from app.store.components import ACTIVE
from app.store.db import transaction
from app.store.tables import Component, Dataset, Image, Tombstone

log = logging.getLogger(__name__)

UNCLAIMED_SECONDS = 3600  # a blob is written before its row: a younger one may still get its row
MAX_NAMED = 3  # unknown files, in the log


def remove_orphans(session: Session, blobs: LocalBlobs) -> list[str]:
    """Remove the blobs that were deleted or that no row can come to refer to; return their keys.

    Unknown files stay: the database may have been restored from before they were written.
    """
    removed, unknown = [], []
    for key in list(blobs.keys()):
        subject_id = Path(key).parts[1] if key.count("/") else ""
        if session.get(Tombstone, subject_id) or session.get(Tombstone, key):
            proved = True
        elif (component := session.get(Component, subject_id)) is not None:
            proved = _is_useless(component, blobs, key)
        else:
            proved = False
            if session.get(Dataset, subject_id) is None and not _is_young(blobs, key):
                unknown.append(key)
        if proved:
            blobs.delete(key)
            removed.append(key)
    if unknown:
        named = ", ".join(unknown[:MAX_NAMED]) + " …" * (len(unknown) > MAX_NAMED)
        log.warning(
            "%d files that the database does not know were left where they are in %s: %s",
            *(len(unknown), blobs.root, named),
        )
    return removed


def freed(session: Session, dataset_id: str, removed: Iterable[Image]) -> list[Place]:
    """Return the byte ranges of removed images that no remaining image row covers."""
    places = {Place(image.pack_offset, image.pack_length) for image in removed}
    offsets = select(Image.pack_offset).where(
        Image.dataset_id == dataset_id,
        Image.pack_offset.in_([place.offset for place in places]),
    )
    covered = set(session.scalars(offsets))
    return sorted(place for place in places if place.offset not in covered)


def erase(blobs: LocalBlobs, pack_key: str, places: Iterable[Place]) -> None:
    """Overwrite these byte ranges of a pack; do nothing if the pack was deleted meanwhile."""
    try:
        packs.erase(blobs.path(pack_key), places)
    except (BlobMissing, FileNotFoundError):
        return


def count_unerased(session: Session, blobs: LocalBlobs, dataset_id: str) -> int:
    """Return how many bytes of deleted images are still in the dataset's pack."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        return 0
    try:
        places = _uncovered(session, blobs, dataset)
        return packs.nonzero_bytes(blobs.path(dataset.pack_key), places)
    except (BlobMissing, FileNotFoundError):
        return 0


def finish_erasures(sessions: sessionmaker[Session], blobs: LocalBlobs) -> None:
    """Finish the erasures of a process that died; only a changed dataset can have any."""
    with transaction(sessions) as session:
        changed = session.scalars(select(Dataset).where(Dataset.revision > 0))
        found = [(row.pack_key, _uncovered(session, blobs, row)) for row in changed]
    for pack_key, places in found:
        erase(blobs, pack_key, places)


def _uncovered(session: Session, blobs: LocalBlobs, dataset: Dataset) -> list[Place]:
    """Return the byte ranges of the dataset's pack that belong to no image; none without a pack."""
    places = select(Image.pack_offset, Image.pack_length).where(Image.dataset_id == dataset.id)
    try:
        size = blobs.path(dataset.pack_key).stat().st_size
    except (BlobMissing, FileNotFoundError):
        return []
    return packs.uncovered((Place(*row) for row in session.execute(places)), size)


def _is_useless(component: Component, blobs: LocalBlobs, key: str) -> bool:
    """Return whether the file can never be the component's."""
    if component.status != "ready":
        return component.status not in ACTIVE
    if component.blob_key is None or component.blob_key == key or _is_young(blobs, key):
        return False  # a young file may be about to replace the present one
    # Without its own file, the row may be older than this file, which replaced that one.
    return blobs.path(component.blob_key, must_exist=False).is_file()


def _is_young(blobs: LocalBlobs, key: str) -> bool:
    return _age(blobs, key) < UNCLAIMED_SECONDS


def _age(blobs: LocalBlobs, key: str) -> float:
    try:
        return time.time() - blobs.path(key).stat().st_mtime
    except (BlobMissing, FileNotFoundError):  # another process has removed it
        return 0
