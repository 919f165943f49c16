"""Uploads: an archive checked, stored as a dataset, and a training queued if one is wanted."""

from pathlib import PurePath
from typing import BinaryIO, NamedTuple

from app.archives.uploads import Upload
from app.database.sessions import Session, transaction
from app.database.tables import Dataset, Space
from app.files.intents import Intent
from app.parts import Parts
from app.schemas.components import ComponentOut
from app.schemas.datasets import UploadedDataset
from app.store import datasets, lineage, quotas, spaces
from app.store.idempotency import Once
from tangent import Hyperparameters
from tangent.components.labels import name_from


class Archive(NamedTuple):
    """An uploaded file and the fields of its form."""

    file: BinaryIO
    filename: str | None
    name: str | None
    space: str
    train: bool
    code_page: str | None = None


def upload_dataset(parts: Parts, archive: Archive, once: Once) -> UploadedDataset:
    """Store the archive as a dataset, once for an idempotency key.

    Raises:
        Problem: as `app.archives.uploads.receive`.
        NotFound: `space_not_found`.
        SpaceUnavailable: as `OpenedSpaces.check_available`.
        Forbidden: `quota_exceeded`.
        Invalid, Gone: as `Once.run`.
    """
    with transaction(parts.reading) as session:  # before the archive is read, which takes long
        space = spaces.get(session, archive.space)
    if archive.train:
        parts.spaces.check_available(space)
    with (
        datasets.receive(archive.file, parts.blobs, parts.settings, archive.code_page) as upload,
        datasets.store_pack(parts.sessions, parts.blobs, upload) as pack,
        transaction(parts.sessions) as session,
    ):
        request = {"name": archive.name, "space": archive.space, "train": archive.train}
        if archive.code_page is not None:
            request["code_page"] = archive.code_page
        dataset_id = once.run(
            session,
            request | {"sha256": upload.sha256},
            lambda: _add(session, parts, archive, (upload, pack), space).id,
        )
        trained = datasets.first_component(session, dataset_id) if archive.train else None
        shown = None if trained is None else ComponentOut.of(trained)
        dataset = datasets.get(session, dataset_id)
        return UploadedDataset.of(dataset, shown, datasets.sharing(session, dataset_id))


def _add(
    session: Session, parts: Parts, archive: Archive, stored: tuple[Upload, Intent], space: Space
) -> Dataset:
    upload, pack = stored
    name = archive.name or _name_of(archive.filename)
    quotas.check(session, max_datasets=1, max_bytes=datasets.pack_bytes(upload))
    if archive.train:
        quotas.check(session, max_queued_trainings=1, max_components=1)
    dataset = datasets.add(session, pack, upload, name=name, space=space.name)
    if archive.train:
        lineage.queue_training(
            session,
            parts.jobs,
            space=space,
            dataset=dataset,
            name=None,
            hyperparameters=Hyperparameters.resolve(space.scope, {}).as_dict(),
            seed=0,
            tags={},
        )
    return dataset


def _name_of(filename: str | None) -> str:
    """Return a dataset's name from its file's: `scans/berlin.tar.gz` gives `berlin`."""
    stem = PurePath((filename or "").replace("\\", "/")).name.partition(".")[0]
    return name_from(stem)[:255] or "dataset"
