"""The verification of a component: made again from its images, and compared with its file."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app.database import outages
from app.database.sessions import transaction
from app.database.tables import Component, Dataset
from app.errors import Conflict, NotReady
from app.files.blobs import BlobMissing
from app.files.component_files import MISSING, DamagedFile
from app.operations import trainer
from app.parts import Parts
from app.store import components, recomputation
from tangent.components.file_difference import differing
from tangent.errors import BadComponent
from tangent_composer.schemas.verifications import ComponentVerificationOut, ImagesOut

MAX_SECONDS = 120.0  # for the making, the start of its process included
PATIENCE_SECONDS = 2.0  # a request that waits holds a thread
RETRY_SECONDS = 30
# Reasons for which a training fails here and now, whatever the component's file is.
PASSING = ("image_damaged", "space_changed", "space_unavailable")


class Before(NamedTuple):
    """The component's row and its dataset's images, at one moment."""

    row: Component
    revision: int  # of the dataset
    images: ImagesOut

    def is_as(self, other: "Before") -> bool:
        """Return whether file and images are the same at the other moment."""
        mine, theirs = self.row, other.row
        same_file = (mine.blob_key, mine.sha256) == (theirs.blob_key, theirs.sha256)
        return same_file and self.revision == other.revision


def verify_component(parts: Parts, component_id: str) -> ComponentVerificationOut:
    """Make the component again from the images that are held, and compare it with its file.

    One at a time, for MAX_SECONDS at most; nothing is kept.

    Raises:
        NotFound, Gone: as `components.get`.
        Conflict: as `recomputation.check`; `component_changed`, `component_too_large`.
        NotReady: `verification_busy`, `trainer_died`; of the images, the space or the machine.
        TooManyRequests: `rate_limited`.
    """
    before = _read(parts, component_id)
    parts.count_images(before.images.count)
    with _turn(parts), _scratch(parts, component_id) as folder:
        message = _made(parts, before, folder)
        after = _read(parts, component_id)
        if not before.is_as(after):
            raise _changed(component_id)
        shown = _compared(parts, before, message)
        if not before.is_as(_read(parts, component_id)):  # its file may have gone while it was read
            raise _changed(component_id)
        return shown


def _read(parts: Parts, component_id: str) -> Before:
    with transaction(parts.reading) as session:
        row = components.get(session, component_id)
        recomputation.check(session, row)
        dataset = session.get_one(Dataset, row.dataset_id)
        count, sha256 = recomputation.images_of(session, dataset.id)
        return Before(row, dataset.revision, ImagesOut(count=count, sha256=sha256))


@contextmanager
def _turn(parts: Parts) -> Iterator[None]:
    if not parts.making_again.acquire(timeout=PATIENCE_SECONDS):
        raise NotReady(
            "verification_busy",
            "another component is being verified, which takes a training: try again",
            retry_after=RETRY_SECONDS,
        )
    try:
        yield
    finally:
        parts.making_again.release()


@contextmanager
def _scratch(parts: Parts, component_id: str) -> Iterator[Path]:
    """Yield a folder of the component's name, so that its deletion removes it too."""
    folder = parts.blobs.scratch_path(component_id)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(parts: Parts, before: Before, folder: Path) -> dict[str, Any]:
    """Return the trainer's final message."""
    id_ = before.row.id

    def is_wanted() -> bool:
        with transaction(parts.reading) as session:
            row = session.get(Component, id_)
            return row is not None and row.blob_key == before.row.blob_key

    try:
        return trainer.make_again(
            parts.settings, id_, folder, seconds=MAX_SECONDS, is_wanted=is_wanted
        )
    except trainer.TooLong:
        raise Conflict(
            "component_too_large",
            f"making component {id_} again takes more than {MAX_SECONDS:g} s, which is the most of "
            "a request: run `tangent verify-components` beside the service",
        ) from None
    except trainer.NotWanted:
        _read(parts, id_)  # says if it was deleted
        raise _changed(id_) from None
    except trainer.TrainerDied as died:
        raise NotReady(
            "trainer_died",
            f"{died} while it made component {id_} again, mostly for want of memory: try again "
            "with more memory, or run `tangent verify-components` on another machine",
            retry_after=RETRY_SECONDS,
        ) from None


def _changed(component_id: str) -> Conflict:
    return Conflict(
        "component_changed",
        f"component {component_id} or its dataset was changed while it was made again: verify it "
        "as it is now",
    )


def _compared(parts: Parts, before: Before, message: dict[str, Any]) -> ComponentVerificationOut:
    row = before.row
    shown = ComponentVerificationOut(
        component_id=row.id,
        ok=False,
        detail="",
        dataset_id=row.dataset_id or "",
        images=before.images,
        sha256=row.sha256 or "",
        file_sha256=_stored(parts, row),
    )
    if message["type"] == "failed":
        shown.detail = _failure(message["code"], message["detail"])
        return shown
    shown.made_sha256, shown.environment = message["sha256"], message["metrics"]["environment"]
    found = recomputation.verdict(
        row, stored=shown.file_sha256, made=shown.made_sha256, metrics=message["metrics"]
    )
    shown.ok, shown.detail = found.same, found.text
    if shown.made_sha256 != shown.file_sha256:
        path = parts.blobs.path(row.blob_key or "", must_exist=False)
        shown.differing = _differing(path, Path(message["file"]))
    return shown


def _failure(code: str, detail: str) -> str:
    """Return what to say of a training that failed for a reason in the component itself.

    Raises:
        Problem: the reason lies elsewhere and may pass.
    """
    if code in outages.SECONDS:
        raise outages.problem(code)
    if code in PASSING:
        raise NotReady(code, detail)
    return f"cannot be made again: {detail}"


def _stored(parts: Parts, row: Component) -> str:
    """Return the SHA-256 of the component's file as it is."""
    try:
        with parts.blobs.path(row.blob_key or "").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (BlobMissing, FileNotFoundError):
        _read(parts, row.id)  # says if it was deleted
        raise DamagedFile(row.blob_key or "", row.sha256, MISSING) from None


def _differing(stored: Path, made: Path) -> list[str] | None:
    try:
        return differing(made, stored)
    except BadComponent:
        return None
