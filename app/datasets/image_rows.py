"""The rows of a dataset's images, numbered in the archive's order: img_<dataset's hex>_<number>."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.archives.uploads import LabelledImage
from app.database.tables import Image, Tombstone

ROWS_AT_ONCE = 2000
MAX_NUMBER = 999_999  # of six digits, so that the order of ids is that of their numbers


def prefix(dataset_id: str) -> str:
    """Return the beginning of the ids of a dataset's images."""
    return f"img_{dataset_id.removeprefix('ds_')}"


def next_number(session: Session, dataset_id: str) -> int:
    """Return the first number that no image of the dataset has, or has had before a deletion."""
    first, last = (f"{prefix(dataset_id)}_{number:06d}" for number in (0, MAX_NUMBER))
    gone = Tombstone.subject_id.between(first, last)
    ids = (
        session.scalar(select(func.max(Image.id)).where(Image.dataset_id == dataset_id)),
        session.scalar(select(func.max(Tombstone.subject_id)).where(gone)),
    )
    return max((int(id_.rpartition("_")[2]) + 1 for id_ in ids if id_), default=0)


def made(
    dataset_id: str, images: Iterable[LabelledImage], first: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the columns of images, numbered from the first number on."""
    start = prefix(dataset_id)
    for number, each in enumerate(images, start=first):
        label, found, place, copies, split, group, own_split = each
        yield {
            "id": f"{start}_{number:06d}",
            "dataset_id": dataset_id,
            "path": found.path,
            "label": label,
            "split": split,
            "own_split": own_split,
            "group": group,
            "sha256": found.sha256.hex(),
            "perceptual_hash": found.facts.perceptual_hash,
            "copies": copies,
            "media_type": found.facts.media_type,
            "width": found.facts.width,
            "height": found.facts.height,
            "pack_offset": place.offset,
            "pack_length": place.length,
        }


def add(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Add the rows."""
    left = iter(rows)
    while some := list(islice(left, ROWS_AT_ONCE)):
        session.execute(insert(Image), some)
