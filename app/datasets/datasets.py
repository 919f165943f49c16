"""Datasets and their images: rows here, the image files in one pack a dataset among the blobs."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from sqlalchemy import ColumnElement, distinct, func, select
from sqlalchemy.orm import Session, aliased, sessionmaker

from app.access import callers
from app.archives import packs, uploads
from app.archives.entries import Limits
from app.archives.uploads import Upload
from app.database.ids import next_id
from app.database.row_checksums import KEPT, was_kept
from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Image, Tombstone
from app.datasets import image_rows
from app.datasets.training_images import in_split
from app.errors import Gone, NotFound
from app.files import stored_images
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.intents import Intent, store
from tangent_composer.labels import tidy

ROWS_AT_ONCE = 2000
PACK = "images.pack"
IMAGE_DAMAGED = "image_damaged"  # code of a failed training
HOLDING = ("queued", "training", "ready")  # statuses of components with a dataset's images
SCRATCH = "upload"  # prefix of the packs being written


@contextmanager
def receive(
    file: BinaryIO, blobs: LocalBlobs, limits: Limits, code_page: str | None = None
) -> Iterator[Upload]:
    """Yield the checked upload, for `add` within the block; remove its files afterwards.

    Raises:
        Problem: as `app.archives.uploads.receive`.
    """
    with uploads.receive(file, blobs.scratch_path(SCRATCH), limits, code_page) as upload:
        yield upload


def store_pack(sessions: sessionmaker[Session], blobs: LocalBlobs, upload: Upload) -> Intent:
    """Move the upload's pack to the place of a new dataset, to be named by `add`."""
    with transaction(sessions) as session:
        dataset_id = next_id(session, "ds", Dataset.id)
    return store(sessions, blobs, upload.pack, f"datasets/{dataset_id}/{PACK}")


def pack_bytes(upload: Upload) -> int:
    """Return the size of the upload's pack, wherever it has been moved."""
    ends = (each.place.offset + each.place.length for each in upload.images)
    return max(ends, default=0)


def add(
    session: Session, pack: Intent, upload: Upload, *, name: str, space: str | None = None
) -> Dataset:
    """Add the dataset of a stored pack, and its images; whoever may see the space may see it."""
    dataset_id = pack.key.split("/")[1]
    pack.settle(session)
    dataset = Dataset(
        id=dataset_id,
        name=name,
        sha256=upload.sha256,
        bytes=upload.bytes,
        num_images=len(upload.images),
        labels=upload.labels,
        splits=upload.splits,
        rejected=upload.rejected.listed,
        num_rejected=upload.rejected.count,
        duplicates=upload.duplicates,
        files={
            **upload.files._asdict(),
            "warnings": upload.warnings,
            "near_duplicates": upload.near_duplicates,
        },
        pack_key=pack.key,
        pack_bytes=pack_bytes(upload),
        space=space,
        created_by=callers.key_id_of(session),
    )
    session.add(dataset)
    session.flush()
    image_rows.add(session, image_rows.made(dataset_id, upload.images))
    return dataset


def get(session: Session, dataset_id: str) -> Dataset:
    """Return the dataset as it is now.

    Raises:
        Gone: `dataset_deleted`, with the `receipt_id`.
        NotFound: `dataset_not_found`.
    """
    dataset = session.get(Dataset, dataset_id, populate_existing=True)
    if dataset is not None and callers.sees(session, dataset.space):
        return dataset
    tombstone = session.get(Tombstone, dataset_id)
    if tombstone is not None:
        raise Gone(
            "dataset_deleted",
            f"dataset {dataset_id} was deleted: receipt {tombstone.receipt_id} says what went",
            receipt_id=tombstone.receipt_id,
        )
    raise NotFound(
        "dataset_not_found",
        f"no dataset {dataset_id!r} exists: GET /v1/datasets lists those that do",
    )


def images(
    session: Session,
    dataset_id: str,
    *,
    label: str | None,
    after: str | None,
    limit: int,
    split: str | None = None,
) -> list[Image]:
    """Return images after the cursor in the archive's order, of one label and split or of all.

    Raises:
        Gone, NotFound: as `get`.
    """
    get(session, dataset_id)
    query = select(Image).where(Image.dataset_id == dataset_id, *in_split(split))
    if label is not None:
        query = query.where(Image.label.in_(spellings(label)))
    if after is not None:
        query = query.where(Image.id > after)
    return list(session.scalars(query.order_by(Image.id).limit(limit).execution_options(**KEPT)))


def spellings(label: str) -> set[str]:
    """Return the labels that a query for this one finds: its tidy form, and itself."""
    return {label, tidy(label)}


def image(session: Session, dataset_id: str, image_id: str) -> tuple[Dataset, Image]:
    """Return one image and its dataset.

    Raises:
        Gone, NotFound: as `get`.
        Gone: `image_deleted`, with the `receipt_id`.
        NotFound: `image_not_found`.
    """
    dataset = get(session, dataset_id)
    found = session.get(Image, image_id, populate_existing=True)
    if found is None or found.dataset_id != dataset_id:
        _check_not_deleted(session, dataset_id, image_id)
        raise NotFound(
            "image_not_found",
            f"dataset {dataset_id} has no image {image_id!r}: "
            f"GET /v1/datasets/{dataset_id}/images lists those that it has",
        )
    return dataset, found


def _check_not_deleted(session: Session, dataset_id: str, image_id: str) -> None:
    tombstone = session.get(Tombstone, image_id)
    if tombstone is not None and image_id.startswith(f"{image_rows.prefix(dataset_id)}_"):
        raise Gone(
            "image_deleted",
            f"image {image_id} was deleted: receipt {tombstone.receipt_id} says what went with it",
            receipt_id=tombstone.receipt_id,
        )


def same_bytes(session: Session, sha256: str, *, after: str | None, limit: int) -> list[Image]:
    """Return the images after the cursor, of all datasets, whose files have this hash."""
    query = select(Image).join(Dataset, Dataset.id == Image.dataset_id)
    query = query.where(Image.sha256 == sha256, *callers.seen(session, Dataset.space))
    if after is not None:
        query = query.where(Image.id > after)
    return list(session.scalars(query.order_by(Image.id).limit(limit).execution_options(**KEPT)))


def images_by_id(session: Session, ids: Sequence[str]) -> dict[str, Image]:
    """Return these images by their ids, damaged rows left out."""
    found = session.scalars(select(Image).where(Image.id.in_(ids)).execution_options(**KEPT))
    return {row.id: row for row in found if not was_kept(row)}


def hashes(session: Session) -> Iterator[tuple[str, str, str | None]]:
    """Yield id, SHA-256 and perceptual hash of every image that the caller may see."""
    query = select(Image.id, Image.sha256, Image.perceptual_hash)
    query = query.join(Dataset, Dataset.id == Image.dataset_id)
    visible = query.where(*callers.seen(session, Dataset.space))
    for row in session.execute(visible.execution_options(yield_per=ROWS_AT_ONCE)):
        yield row.id, row.sha256, row.perceptual_hash


def sharing(
    session: Session, dataset_id: str, *conditions: ColumnElement[bool], limit: int = 10
) -> list[tuple[str, int]]:
    """Return other datasets that hold such images of this one, with their number, most first."""
    other = aliased(Image)
    mine = select(Image.sha256).where(Image.dataset_id == dataset_id, *conditions)
    number = func.count(distinct(other.sha256))
    query = select(other.dataset_id, number).join(Dataset, Dataset.id == other.dataset_id)
    query = query.where(other.sha256.in_(mine), other.dataset_id != dataset_id)
    query = query.where(*callers.seen(session, Dataset.space)).group_by(other.dataset_id)
    ordered = query.order_by(number.desc(), other.dataset_id).limit(limit)
    return [(id_, count) for id_, count in session.execute(ordered)]


def trained_from(session: Session, dataset_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the ids of the components that hold, or will hold, each dataset's images.

    Those of spaces that the caller may not see are not among them.
    """
    found: dict[str, list[str]] = {id_: [] for id_ in dataset_ids}
    query = select(Component.dataset_id, Component.id).where(
        Component.dataset_id.in_(dataset_ids),
        Component.derived.is_(None),
        Component.status.in_(HOLDING),
        *callers.seen(session, Component.space),
    )
    for dataset_id, component_id in session.execute(query.order_by(Component.id)):
        found[str(dataset_id)].append(component_id)
    return found


def rows(session: Session, dataset_id: str, *conditions: ColumnElement[bool]) -> list[Image]:
    """Return all images by (label, sha256, id): an order that does not depend on the archive's."""
    found = session.scalars(select(Image).where(Image.dataset_id == dataset_id, *conditions))
    return sorted(found, key=lambda row: (row.label, row.sha256, row.id))


def read(blobs: LocalBlobs, dataset: Dataset, image: Image) -> bytes:
    """Return the image file's bytes, as they were in the archive.

    Raises:
        BlobMissing: if the pack or these bytes are not there; then the dataset or the image is
            being deleted, or was.
    """
    try:
        data = packs.read(blobs.path(dataset.pack_key), image.pack_offset, image.pack_length)
    except (EOFError, FileNotFoundError) as error:
        raise BlobMissing(f"the bytes of {image.id} are not in its dataset's pack") from error
    stored_images.check_bytes(data, image.id, image.sha256)
    return data


def first_component(session: Session, dataset_id: str) -> Component | None:
    """Return the oldest component that was trained from the dataset."""
    query = select(Component).where(Component.dataset_id == dataset_id, Component.derived.is_(None))
    return session.scalar(query.order_by(Component.id).limit(1))
