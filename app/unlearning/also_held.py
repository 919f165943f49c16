"""Other holders of what a change removes: they keep it, and its receipt says so."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, distinct, func, select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.chunks import chunks
from app.database.tables import Component, Dataset, Image
from app.datasets import datasets
from app.datasets.training_images import label_counts, training_only
from app.files.blobs import LocalBlobs
from app.receipts.body import AlsoHeld
from app.store import component_copies
from app.unlearning.change import Change
from tangent_composer.schemas.datasets import SharingDataset
from tangent_composer.schemas.previews import AlsoHeld as Shown

MAX_IDS = 10  # ids of each kind in a preview


def of_change(session: Session, blobs: LocalBlobs | None, change: Change) -> AlsoHeld | None:
    """Return the numbers of a change whose rows are still there; None if nothing else holds it.

    Only what the caller may see counts: a receipt must not tell what is in spaces of others.
    Without `blobs`, copies that differ in their statistics do not count.
    """
    in_datasets, images = _held(session, change)
    gone = [row.id for row in change.components]
    files = [row.sha256 for row in change.components if row.sha256]
    same = select(func.count()).where(
        *(Component.sha256.in_(files), Component.id.not_in(gone), Component.status == "ready"),
        *callers.seen(session, Component.space),
    )
    copies = session.scalar(same) or 0 if files else 0
    if blobs is not None:
        copies += len(_but_for_statistics(session, blobs, change) - set(gone))
    if not images and not copies:
        return None
    return AlsoHeld(datasets=in_datasets, images=images, components=copies)


def _but_for_statistics(session: Session, blobs: LocalBlobs, change: Change) -> set[str]:
    bare = Component.statistics.is_(False), Component.space.in_(change.spaces)
    spaces = set(session.scalars(select(Component.space).where(*bare).distinct()))
    rows = [row for row in change.components if row.sha256 and row.space in spaces]
    copies = (component_copies.but_for_statistics(session, blobs, row) for row in rows)
    return {id_ for ids in copies for id_ in ids}


def _held(session: Session, change: Change) -> tuple[int, int]:
    """Return how many datasets that the caller sees hold bytes that go, and of how many images."""
    seen = Image.dataset_id.in_(select(Dataset.id).where(*callers.seen(session, Dataset.space)))
    if change.edit is not None:
        return _held_of_images(session, change.edit.images, seen)
    numbers = func.count(distinct(Image.dataset_id)), func.count(distinct(Image.sha256))
    ((in_datasets, images),) = session.execute(select(*numbers).where(seen, *_copies(change)))
    return in_datasets, images


def _held_of_images(
    session: Session, gone: Sequence[Image], seen: ColumnElement[bool]
) -> tuple[int, int]:
    ids, hashes = {row.id for row in gone}, sorted({row.sha256 for row in gone})
    in_datasets, images = set[str](), set[str]()
    columns = Image.id, Image.dataset_id, Image.sha256
    for some in chunks(hashes):
        query = select(*columns).where(seen, Image.sha256.in_(some))
        for id_, dataset_id, sha256 in session.execute(query):
            if id_ not in ids:
                in_datasets.add(dataset_id)
                images.add(sha256)
    return len(in_datasets), len(images)


def _copies(change: Change) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of images that have the bytes of those that go, and stay."""
    if change.dataset is not None:
        own = Image.dataset_id == change.dataset.id
        return Image.sha256.in_(select(Image.sha256).where(own)), ~own
    trained = [row.dataset_id for row in change.components if row.dataset_id and not row.derived]
    own = Image.dataset_id.in_(trained)  # which stays, as whoever deletes a component knows
    return Image.sha256.in_(select(Image.sha256).where(own, training_only())), ~own


def of_component(session: Session, blobs: LocalBlobs, row: Component) -> Shown:
    """Return what the caller may see of the other holders of a component's data."""
    imported: list[ColumnElement[bool]] = [
        Component.space == row.space,
        Component.id != row.id,
        Component.dataset_id.is_(None),
        Component.derived.is_(None),
        Component.status == "ready",
    ]
    query = select(Component.id).where(*imported).order_by(Component.id).limit(MAX_IDS)
    own = session.get(Dataset, row.dataset_id) if row.dataset_id else None
    sharing: list[tuple[str, int]] = []
    if own is not None:
        seen = sum(label_counts(session, own, training_only()).values())
        sharing = [
            (own.id, seen),
            *datasets.sharing(session, own.id, training_only(), limit=MAX_IDS),
        ]
    return Shown(
        datasets=[SharingDataset(dataset_id=id_, images=count) for id_, count in sharing],
        components=component_copies.of(session, blobs, row) if row.sha256 else [],
        cannot_be_looked_into=list(session.scalars(query)),
    )
