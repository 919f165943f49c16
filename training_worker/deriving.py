"""One derivation from rows and blobs to a component: the parents' files, and images if needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session
from torch import Tensor

import tangent
from app.database.tables import Component, Space
from app.datasets import datasets, privacy_ledger
from app.files import component_files
from app.files.blobs import LocalBlobs
from app.settings import Settings
from app.store import lineage
from tangent.composition import merging
from tangent.training.augmentation import Source
from training_worker.entries import entries
from training_worker.source import Entry, ImageSource


@dataclass(frozen=True)
class Images:
    """A dataset's pack, and the places of the images in it."""

    entries: list[Entry]
    pack_key: str


@dataclass(frozen=True)
class ParentFile:
    """A parent's file, its weight, and its images if the merge method measures on them."""

    component_id: str
    blob_key: str
    sha256: str
    weight: float | None
    images: Images | None


@dataclass(frozen=True)
class Plan:
    """All data from the database that a derivation needs."""

    component: Component
    method: merging.MergeMethod
    parents: list[ParentFile]
    examples: Images | None


def plan(session: Session, component: Component) -> Plan:
    """Return the plan of a queued derived component.

    Raises:
        Conflict: `parent_changed`, `privacy_required`.
        UnknownOperator: another version of the service queued it.
    """
    derived = component.derived or {}
    method = merging.merge_method(derived.get("operator"))
    scope = session.get_one(Space, component.space).scope
    parents = []
    for parent, link in lineage.parents(session, component):
        images = None
        if method.measures_images and parent.dataset_id is not None:
            is_read = method.needs_images(scope, parent.hyperparameters.get("loss", "rsl"))
            images = _images(session, parent.dataset_id, method.name if is_read else None)
        key = parent.blob_key or ""
        parents.append(ParentFile(parent.id, key, link.sha256, link.weight, images))
    fitted_to = component.dataset_id
    examples = _images(session, fitted_to, method.name) if fitted_to else None
    return Plan(component, method, parents, examples)


def make(
    derivation: Plan,
    space: tangent.Space,
    blobs: LocalBlobs,
    settings: Settings,
    folder: Path,
    progress: Callable[[tangent.Progress], None],
) -> tangent.TrainingResult:
    """Make and return the derived component.

    Raises:
        NotReady: `component_damaged` if a parent's file is not what it was.
        TangentError: as `tangent.composition.merging.derive`.
    """
    derived = derivation.component.derived or {}
    source = _opener(derivation, space, blobs, settings, progress)
    parents = [
        merging.Parent(
            component_files.load(blobs, parent.blob_key, parent.sha256),
            parent.weight,
            source(parent.images),
            sha256=parent.sha256,
        )
        for parent in derivation.parents
    ]
    return merging.derive(
        space,
        parents,
        derived["operator"],
        derived["parameters"],
        seed=derivation.component.seed,
        examples=source(derivation.examples),
        scratch=folder,
        progress=progress,
    )


def _opener(
    derivation: Plan,
    space: tangent.Space,
    blobs: LocalBlobs,
    settings: Settings,
    progress: Callable[[tangent.Progress], None],
) -> Callable[[Images | None], Source | None]:
    """Return a function that opens images; reading them reports progress unless the method does."""
    read = [*(parent.images for parent in derivation.parents), derivation.examples]
    counter = Counter(progress, sum(len(images.entries) for images in read if images))

    def source(images: Images | None) -> Source | None:
        if images is None:
            return None
        pack = blobs.path(images.pack_key)
        opened = ImageSource(images.entries, pack, space.preprocess, settings)
        return opened if derivation.method.reports_progress else CountedSource(opened, counter)

    return source


class Counter:
    """A counter that reports how many of all images have been read."""

    def __init__(self, progress: Callable[[tangent.Progress], None], total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress(tangent.Progress("features", self._done, self._total))


class CountedSource:
    """An image source that counts the images it yields."""

    def __init__(self, source: ImageSource, counter: Counter) -> None:
        self.labels, self._source, self._counter = source.labels, source, counter

    def batches(self, size: int) -> Iterator[Tensor]:
        for batch in self._source.batches(size):
            self._counter.add(len(batch))
            yield batch


def _images(session: Session, dataset_id: str, reader: str | None) -> Images:
    """Return the dataset's images; `reader` is the operator that reads them, if it does.

    Raises:
        Conflict: `privacy_required`.
    """
    dataset = datasets.get(session, dataset_id)
    if reader is not None:
        privacy_ledger.require_private(dataset, f"operator {reader}")
    return Images(entries(session, dataset_id), dataset.pack_key)
