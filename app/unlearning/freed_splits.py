"""Splits of images that stay, once others with their bytes go: as if those had never come.

Equal bytes have the strictest split that is told of one of their rows. It counts as long as there
is that row; then the strictest of the others' own.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.archives.splits import is_training, strictest
from app.database.chunks import chunks
from app.database.tables import Image
from app.datasets.training_images import is_for_training


class Freed(NamedTuple):
    """An image that stays, and the split that counts for it from now on."""

    image: Image
    split: str | None
    is_regained: bool  # for training, which held it back before


def without(session: Session, dataset_id: str, removed: Sequence[Image]) -> list[Freed]:
    """Return the dataset's images whose splits change when these are removed."""
    gone = {image.id for image in removed}
    equal: defaultdict[str, list[Image]] = defaultdict(list)
    for image in _with_bytes(session, dataset_id, sorted({image.sha256 for image in removed})):
        if image.id not in gone:
            equal[image.sha256].append(image)
    freed = []
    for rows in equal.values():
        split = strictest(each.own_split for each in rows)
        is_seen = is_training(split)
        freed += [
            Freed(each, split, is_seen and not is_for_training(each))
            for each in rows
            if each.split != split
        ]
    return freed


def for_training(freed: Sequence[Freed]) -> list[Image]:
    """Return the images that are held back no more."""
    return [each.image for each in freed if each.is_regained]


def apply(session: Session, freed: Sequence[Freed]) -> None:
    """Give the rows the splits that count for them from now on."""
    split_of = {each.image.id: each.split for each in freed}
    for some in chunks(list(split_of)):
        for image in session.scalars(select(Image).where(Image.id.in_(some))):
            image.split = split_of[image.id]
    session.flush()


def _with_bytes(session: Session, dataset_id: str, hashes: list[str]) -> Iterator[Image]:
    for some in chunks(hashes):
        mine = Image.dataset_id == dataset_id, Image.sha256.in_(some)
        yield from session.scalars(select(Image).where(*mine).order_by(Image.id))
