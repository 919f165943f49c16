"""The scrub: reads every file that a row names, and notes which are damaged and which are whole.

    for read in scrub(sessions, blobs, pace, after=position): …

A file that nobody asks for rots unseen; here it is met before somebody needs it. Components come
first, then datasets, each by id. No transaction is open while a file is read, and what was deleted
or replaced in the meantime is not damaged.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import frozen_view
from app.database.tables import Component, Dataset, Image
from app.files import component_files, stored_images
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.component_files import UNREADABLE, DamagedFile
from app.files.paced_files import Pace, PacedFile
from app.store import damage

COMPONENTS, DATASETS = "components", "datasets"  # the noun of a position, in the order of reading
IMAGES_AT_ONCE = 500


class Read(NamedTuple):
    """One component's file or one dataset's pack, and what reading it has changed."""

    position: str  # noun and id; `after` of a scrub that goes on from here
    damaged: int  # files or images that are newly known to be damaged
    whole: int  # that were known to be damaged and are whole again


class FolderAway(Exception):
    """The folder of the files is not there, which says nothing about the files."""


def scrub(
    sessions: sessionmaker[Session], blobs: LocalBlobs, pace: Pace, *, after: str = ""
) -> Iterator[Read]:
    """Yield every component's file and every dataset's pack after the position, once it was read.

    Raises:
        FolderAway: before anything is noted.
    """
    noun, _, last = after.partition("/")
    if noun != DATASETS:
        while (row := _next_component(sessions, last)) is not None:
            last = row.id
            _check_folder(blobs)
            yield read_component(sessions, blobs, pace, row)
        last = ""
    while (dataset := _next_dataset(sessions, last)) is not None:
        last = dataset.id
        _check_folder(blobs)
        yield read_dataset(sessions, blobs, pace, dataset)


def _check_folder(blobs: LocalBlobs) -> None:
    if not blobs.root.is_dir():
        raise FolderAway(f"the folder {blobs.root} is not there: mount it")


def _next_component(sessions: sessionmaker[Session], after: str) -> Component | None:
    stored = Component.id > after, Component.blob_key.is_not(None)
    with frozen_view(sessions) as session:
        query = select(Component).where(*stored, Component.intact).order_by(Component.id).limit(1)
        return session.scalar(query)


def _next_dataset(sessions: sessionmaker[Session], after: str) -> Dataset | None:
    later = Dataset.id > after, Dataset.intact  # a damaged row says nothing about its file
    query = select(Dataset).where(*later).order_by(Dataset.id).limit(1)
    with frozen_view(sessions) as session:
        return session.scalar(query)


def read_component(
    sessions: sessionmaker[Session], blobs: LocalBlobs, pace: Pace, row: Component
) -> Read:
    """Read one component's file, and note what that shows."""
    position = f"{COMPONENTS}/{row.id}"
    try:
        component_files.check(blobs, str(row.blob_key), row.sha256, pace)
    except DamagedFile as lost:
        return Read(position, int(damage.note(sessions, blobs, lost)), 0)
    return Read(position, 0, int(row.status == "failed" and damage.restore(sessions, row)))


def read_dataset(
    sessions: sessionmaker[Session], blobs: LocalBlobs, pace: Pace, dataset: Dataset
) -> Read:
    """Read one dataset's images, and note what that shows."""
    damaged = whole = 0
    last = ""
    while images := _next_images(sessions, dataset.id, last):
        last = images[-1].id
        bad = _damaged(blobs, pace, dataset.pack_key, images)
        good = [image.id for image in images if image.damaged and image.id not in bad]
        new = [image.id for image in images if image.id in bad and not image.damaged]
        if new:
            damaged += damage.note_images(sessions, dataset, new)
        if good:
            whole += damage.note_images(sessions, dataset, good, damaged=False)
    return Read(f"{DATASETS}/{dataset.id}", damaged, whole)


def _next_images(sessions: sessionmaker[Session], dataset_id: str, after: str) -> list[Image]:
    mine = Image.dataset_id == dataset_id, Image.id > after, Image.intact
    with frozen_view(sessions) as session:
        query = select(Image).where(*mine).order_by(Image.id).limit(IMAGES_AT_ONCE)
        return list(session.scalars(query))


def _damaged(blobs: LocalBlobs, pace: Pace, pack_key: str, images: list[Image]) -> set[str]:
    """Return the ids of those images whose bytes are not in the pack."""
    try:
        pack = PacedFile(blobs.path(pack_key).open("rb"), pace)
    except (BlobMissing, FileNotFoundError):
        return {image.id for image in images}
    with pack:
        return {image.id for image in images if not _is_whole(pack, image)}


def _is_whole(pack: PacedFile, image: Image) -> bool:
    try:
        data = pack.read_at(image.pack_offset, image.pack_length)
        stored_images.check_bytes(data, image.id, image.sha256)
    except BlobMissing:
        return False
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return False
    return True
