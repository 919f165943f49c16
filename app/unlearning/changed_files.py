"""The new files of a changed dataset's components, made of their sums before the transaction.

    files = made(engine, spaces, blobs, sessions, plan)       by component id

A component without a new file has to be trained again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy.orm import Session, sessionmaker

from app.archives import packs
from app.archives.splits import is_training
from app.database.tables import Component, Space
from app.datasets import datasets
from app.datasets.training_images import is_for_training
from app.errors import Problem
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.intents import store
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.chunks import chunks
from app.images.image_files import BadImage
from app.inference.engines import AnyEngine
from app.inference.models import Share, Written
from app.inference.opened_spaces import OpenedSpaces, source_of
from app.unlearning.change import DowndatedFile
from app.unlearning.change_plan import Plan
from tangent.components.hyperparameters import obstacle_to_downdating
from tangent.errors import NotDowndatable, TangentError


class ImageFile(NamedTuple):
    """An image whose share of the sums goes or comes."""

    label: str
    size: int  # bytes
    read: Callable[[], bytes]


class Shares:
    """The shares of a plan's images in the sums, measured once for all components of a space."""

    def __init__(
        self, engine: AnyEngine, spaces: OpenedSpaces, blobs: LocalBlobs, plan: Plan
    ) -> None:
        self._engine, self._spaces = engine, spaces
        self._removed, self._added = removed_files(blobs, plan), added_files(blobs, plan)
        self._known: dict[tuple[str, int], tuple[Share | None, Share | None]] = {}

    def of(self, space: Space, views: int) -> tuple[Share | None, Share | None]:
        """Return what goes from the sums over so many views, and what comes to them.

        Raises:
            NotDowndatable: an image does not decode any more, as its training will say.
            TangentError, Problem, BlobMissing: as the engine, the decoder and the pack.
        """
        asked = space.name, views
        if asked not in self._known:
            removed, added = (
                self._measured(space, views, files) for files in (self._removed, self._added)
            )
            self._known[asked] = removed, added
        return self._known[asked]

    def _measured(self, space: Space, views: int, files: Sequence[ImageFile]) -> Share | None:
        key = self._spaces.key(space)
        budget = Budget(is_patient=True, times=ACCEPTED_TIMES)
        share: Share | None = None
        for some in chunks(files, lambda file: file.size):
            pixels = self._spaces.pixels(space, [each.read() for each in some], budget)
            read = [found for found in pixels if not isinstance(found, BadImage)]
            if len(read) < len(pixels):
                raise NotDowndatable("an image of the dataset does not decode any more")
            labels = [each.label for each in some]
            share = self._engine.measure(key, read, labels, views=views, before=share)
        return share


def removed_files(blobs: LocalBlobs, plan: Plan) -> list[ImageFile]:
    """Return the training images whose shares go, under the labels that they have had."""
    images = [*plan.removed]
    if plan.corrected is not None and plan.corrected.image not in images:
        images.append(plan.corrected.image)
    if plan.added is not None:
        images += plan.added.held_back
    read = partial(datasets.read, blobs, plan.dataset)
    seen = (image for image in images if is_for_training(image))
    return [ImageFile(image.label, image.pack_length, partial(read, image)) for image in seen]


def added_files(blobs: LocalBlobs, plan: Plan) -> list[ImageFile]:
    """Return the training images whose shares come, under their new labels."""
    if plan.corrected is not None and plan.corrected.image not in plan.removed:
        image, label, _ = plan.corrected
        read = partial(datasets.read, blobs, plan.dataset, image)
        return [ImageFile(label, image.pack_length, read)]
    if plan.added is None:
        kept = partial(datasets.read, blobs, plan.dataset)
        regained = plan.regained
        return [ImageFile(each.label, each.pack_length, partial(kept, each)) for each in regained]
    new, places = plan.added, {offset: place for place, offset in plan.added.moved}
    from_pack = partial(packs.read, new.upload.pack)
    seen = (row for row in new.rows if is_training(row["split"]))
    return [
        ImageFile(row["label"], row["pack_length"], partial(from_pack, *places[row["pack_offset"]]))
        for row in seen
    ]


def made(
    engine: AnyEngine,
    spaces: OpenedSpaces,
    blobs: LocalBlobs,
    sessions: sessionmaker[Session],
    plan: Plan,
) -> dict[str, DowndatedFile]:
    """Store the new files of the plan's components, without training.

    Return them by component id; a component without one must be trained again.
    """
    files: dict[str, DowndatedFile] = {}
    shares = Shares(engine, spaces, blobs, plan)
    try:
        for row, space in plan.components:
            path = blobs.scratch_path(row.id)
            try:
                written = _written(engine, spaces, shares, plan, row, space, path)
                if written is not None:
                    files[row.id] = _stored(blobs, sessions, row, written, path)
            finally:
                path.unlink(missing_ok=True)
    except BaseException:
        for file in files.values():
            file.blob.withdraw()
        raise
    return files


def is_downdatable(engine: AnyEngine, row: Component, space: Space) -> bool:
    """Return whether a component's new file can be made of its sums; else it has to be trained.

    It has to if it was trained iteratively, or where this process does not reproduce the training
    bit for bit.
    """
    if obstacle_to_downdating(space.scope, row.hyperparameters) is not None:
        return False
    if row.metrics.get("not_repeatable"):
        return False
    return bool(row.metrics.get("environment") == engine.environment())


def _written(
    engine: AnyEngine,
    spaces: OpenedSpaces,
    shares: Shares,
    plan: Plan,
    row: Component,
    space: Space,
    path: Path,
) -> Written | None:
    """Write the component of the changed dataset to `path`; None if it needs a training.

    A damaged file or image, or a space that opens differently, is no reason to keep the old
    component either: the training will report the fault.
    """
    if not is_downdatable(engine, row, space):
        return None
    try:
        removed, added = shares.of(space, row.hyperparameters["views"])
        key, source = spaces.key(space), source_of(row)
        change = partial(engine.change, key, source, path, renamed=plan.renamed)
        return change(removed=removed, added=added)
    except (TangentError, Problem, BlobMissing):
        return None


def _stored(
    blobs: LocalBlobs,
    sessions: sessionmaker[Session],
    row: Component,
    written: Written,
    path: Path,
) -> DowndatedFile:
    blob = store(sessions, blobs, path, f"components/{row.id}/{uuid4().hex}.safetensors")
    l2 = float(str(written.hyperparameters["l2"]))
    return DowndatedFile(blob, written.sha256, written.size, written.labels, l2)
