"""Other holders of what a change removes: they keep it, and its receipt says so."""

from sqlalchemy import ColumnElement, distinct, func, select
from sqlalchemy.orm import Session

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

    Without `blobs`, copies that differ in their statistics do not count.
    """
    numbers = func.count(distinct(Image.dataset_id)), func.count(distinct(Image.sha256))
    ((in_datasets, images),) = session.execute(select(*numbers).where(*_copies(change)))
    gone = [row.id for row in change.components]
    files = [row.sha256 for row in change.components if row.sha256]
    same = select(func.count()).where(
        Component.sha256.in_(files), Component.id.not_in(gone), Component.status == "ready"
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


def _copies(change: Change) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of images that have the bytes of those that go, and stay."""
    if change.edit is not None:
        gone = change.edit.images
        hashes = [row.sha256 for row in gone]
        return Image.sha256.in_(hashes), Image.id.not_in([row.id for row in gone])
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
