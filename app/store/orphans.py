"""Orphans: blobs that no row names, or that no row can come to name any more."""

import logging
import time
from pathlib import Path

from sqlalchemy.orm import Session

from app.store.blobs import BlobMissing, LocalBlobs
from app.store.components import ACTIVE
from app.store.tables import Component, Dataset, Tombstone

log = logging.getLogger(__name__)

UNCLAIMED_SECONDS = 3600  # a blob is written before its row: a younger one may still get its row
NAMED = 3  # unknown files, in the log


def sweep(session: Session, blobs: LocalBlobs) -> list[str]:
    """Remove the blobs that were deleted or that no row can come to refer to; return their keys.

    Unknown files stay: the database may have been restored from before they were written.
    """
    swept, unknown = [], []
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
            swept.append(key)
    if unknown:
        log.warning(
            "%d files that the database does not know were left where they are in %s: %s",
            *(len(unknown), blobs.root, ", ".join(unknown[:NAMED]) + " …" * (len(unknown) > NAMED)),
        )
    return swept


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
