"""Erasure of images that no row covers in a pack.

Rows are deleted first. If the process dies before their bytes are erased, `finish_erasures` erases
them later.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.archives import packs
from app.archives.packs import Place
from app.database.chunks import chunks
from app.database.row_checksums import KEPT, was_kept
from app.database.sessions import transaction
from app.database.tables import Dataset, Image
from app.files.blobs import BlobMissing, LocalBlobs


def freed(session: Session, dataset_id: str, removed: Iterable[Image]) -> list[Place]:
    """Return the byte ranges of removed images that no remaining image row covers."""
    places = sorted({Place(image.pack_offset, image.pack_length) for image in removed})
    own = select(Image.pack_offset).where(Image.dataset_id == dataset_id)
    covered: set[int] = set()
    for offsets in chunks([place.offset for place in places]):
        covered.update(session.scalars(own.where(Image.pack_offset.in_(offsets))))
    return [place for place in places if place.offset not in covered]


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
        places = uncovered(session, blobs, dataset)
        return packs.nonzero_bytes(blobs.path(dataset.pack_key), places)
    except (BlobMissing, FileNotFoundError):
        return 0


def finish_erasures(sessions: sessionmaker[Session], blobs: LocalBlobs) -> None:
    """Finish the erasures of a process that died; only a changed dataset can have any."""
    with transaction(sessions) as session:
        query = select(Dataset).where(Dataset.revision > 0).execution_options(**KEPT)
        changed = [row for row in session.scalars(query) if not was_kept(row)]
        found = [(row.pack_key, uncovered(session, blobs, row)) for row in changed]
    for pack_key, places in found:
        erase(blobs, pack_key, places)


def uncovered(session: Session, blobs: LocalBlobs, dataset: Dataset) -> list[Place]:
    """Return the byte ranges of the dataset's pack that belong to no image; none without a pack."""
    places = select(Image.pack_offset, Image.pack_length).where(Image.dataset_id == dataset.id)
    try:
        size = blobs.path(dataset.pack_key).stat().st_size
    except (BlobMissing, FileNotFoundError):
        return []
    return packs.uncovered((Place(*row) for row in session.execute(places)), size)
