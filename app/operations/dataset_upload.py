"""Uploads: an archive checked, stored as a dataset, and a training queued if one is wanted."""

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from app.access import quotas
from app.archives.uploads import Upload
from app.database.sessions import Session, transaction
from app.database.tables import Dataset, Space
from app.datasets import datasets
from app.files.intents import Intent
from app.parts import Parts
from app.store import lineage, spaces
from app.store.idempotency import Once
from tangent import Hyperparameters
from tangent_composer.labels import name_from
from tangent_composer.schemas.components import ComponentOut, TrainingIn
from tangent_composer.schemas.datasets import UploadedDataset


class Archive(NamedTuple):
    """An uploaded file and the fields of its form."""

    file: BinaryIO
    filename: str | None
    name: str | None
    space: str
    metadata: Mapping[str, str] = MappingProxyType({})
    training: TrainingIn | None = None
    privacy_budget: Mapping[str, Any] | None = None
    code_page: str | None = None


def upload_dataset(parts: Parts, archive: Archive, once: Once) -> UploadedDataset:
    """Store the archive as a dataset, once for an idempotency key.

    Raises:
        BadHyperparameter: a hyperparameter is unknown or out of its range.
        Problem: as `app.archives.uploads.receive`.
        NotFound: `space_not_found`.
        SpaceUnavailable: as `OpenedSpaces.check_available`.
        Forbidden: `quota_exceeded`.
        Invalid, Gone: as `Once.run`.
    """
    with transaction(parts.reading) as session:  # before the archive is read, which takes long
        space = spaces.get(session, archive.space)
    settings = _settings(space, archive.training)
    if settings is not None:
        parts.spaces.check_available(space)
    with (
        datasets.receive(archive.file, parts.blobs, parts.settings, archive.code_page) as upload,
        datasets.store_pack(parts.sessions, parts.blobs, upload) as pack,
        transaction(parts.sessions) as session,
    ):
        dataset_id = once.run(
            session,
            _request(archive) | {"sha256": upload.sha256},
            lambda: _add(session, parts, archive, (upload, pack), space, settings).id,
        )
        trained = datasets.first_component(session, dataset_id) if settings else None
        shown = None if trained is None else ComponentOut.of(trained)
        dataset = datasets.get(session, dataset_id)
        return UploadedDataset.of(dataset, shown, datasets.sharing(session, dataset_id))


def _settings(space: Space, training: TrainingIn | None) -> dict[str, Any] | None:
    """Return the resolved hyperparameters of the training that is wanted."""
    if training is None:
        return None
    return Hyperparameters.resolve(space.scope, training.hyperparameters).as_dict()


def _request(archive: Archive) -> dict[str, Any]:
    """Return the form without its file; fields of later versions are in it only if they came."""
    training = archive.training
    request: dict[str, Any] = {"name": archive.name, "space": archive.space}
    request["train"] = training is not None
    later = {
        "code_page": archive.code_page,
        "metadata": dict(archive.metadata) or None,
        "privacy_budget": archive.privacy_budget and dict(archive.privacy_budget),
        "training": (training and training.model_dump(exclude_unset=True)) or None,
    }
    return request | {name: value for name, value in later.items() if value is not None}


def _add(
    session: Session,
    parts: Parts,
    archive: Archive,
    stored: tuple[Upload, Intent],
    space: Space,
    settings: dict[str, Any] | None,
) -> Dataset:
    upload, pack = stored
    name, training = archive.name or _name_of(archive.filename), archive.training
    spaces.hold(session, space)
    quotas.check(session, max_datasets=1, max_bytes=datasets.pack_bytes(upload))
    if training is not None:
        quotas.check(session, max_queued_trainings=1, max_components=1)
    dataset = datasets.add(session, pack, upload, name=name, space=space.name)
    dataset.tags = dict(archive.metadata)
    if archive.privacy_budget is not None:
        dataset.privacy_budget = dict(archive.privacy_budget)
    if training is not None and settings is not None:
        lineage.queue_training(
            session,
            parts.jobs,
            space=space,
            dataset=dataset,
            name=training.name,
            hyperparameters=settings,
            seed=training.seed,
            tags=training.metadata,
        )
    return dataset


def _name_of(filename: str | None) -> str:
    """Return a dataset's name from its file's: `scans/berlin.tar.gz` gives `berlin`."""
    stem = PurePath((filename or "").replace("\\", "/")).name.partition(".")[0]
    return name_from(stem)[:255] or "dataset"
