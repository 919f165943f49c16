"""Downloads: the files of components and images, which a deletion ends with their connections."""

from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from app.archives.uploads import report_full_disk
from app.database.sessions import transaction
from app.database.tables import Dataset, Image
from app.datasets import datasets
from app.errors import NotReady
from app.files import stored_images
from app.files.blobs import BlobMissing
from app.files.component_files import DamagedFile
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.decoder import decoder_of
from app.images.image_files import BadImage
from app.inference.deletion_gate import Ticket
from app.parts import Parts
from app.passes import batch_predictions
from app.store import components, damage
from tangent.components.without_statistics import write_without_statistics
from tangent_composer.schemas.batch_predictions import Format
from tangent_composer.schemas.components import SmallestLabel

IsKnown = Callable[[str], bool]  # whether the client has the file of this version


class StoredFile(NamedTuple):
    """An open and intact file of a component or of results; none if the client has this version."""

    version: str
    file: BinaryIO | None
    is_stored: Callable[[], bool]  # False once any process has deleted the file


class ComponentFile(NamedTuple):
    """A component's file, or a copy of it without statistics, and what its row says."""

    stored: StoredFile
    smallest_label: int | None  # images; None if it was derived from others


class ImageFile(NamedTuple):
    """An image's bytes; none if the client has this version."""

    version: str
    data: bytes | None
    media_type: str


def component_file(
    parts: Parts, reader: Ticket, component_id: str, is_known: IsKnown, *, statistics: bool = True
) -> ComponentFile:
    """Return the component's file; a deletion of it ends its transfer.

    Without `statistics`, return a copy of it that has none, under the copy's own version.

    Raises:
        NotReady: `component_damaged`.
        Conflict, NotFound, Gone: as `components.ready`.
    """
    reader.enter()
    with transaction(parts.reading) as session:
        row = components.ready(session, component_id)
    version, key = str(row.sha256), row.blob_key or ""
    fewest = SmallestLabel.of(row)
    images = None if fewest is None else fewest.images

    def is_stored() -> bool:
        return parts.blobs.path(key, must_exist=False).exists()

    def answer(version: str, file: BinaryIO | None) -> ComponentFile:
        return ComponentFile(StoredFile(version, file, is_stored), images)

    if statistics and is_known(version):
        reader.leave()
        return answer(version, None)
    reader.hand_over([component_id, version])  # reading the file through takes its time
    file = _opened(parts, component_id, key, version)
    if statistics:
        return answer(version, file)
    version, copy = _without_statistics(parts, file)
    if is_known(version):
        copy.close()
        return answer(version, None)
    return answer(version, copy)


def _opened(parts: Parts, component_id: str, key: str, version: str) -> BinaryIO:
    try:
        return parts.checked.open(parts.blobs, key, version)
    except DamagedFile as lost:
        damage.note(parts.sessions, parts.blobs, lost)
        with transaction(parts.reading) as session:  # deleted just now?
            components.ready(session, component_id)
        raise


def _without_statistics(parts: Parts, file: BinaryIO) -> tuple[str, BinaryIO]:
    """Return the SHA-256 of a copy without statistics, and the copy, open at its start."""
    with report_full_disk("this copy"), file, ExitStack() as unfinished:
        copy = TemporaryFile(dir=parts.blobs.scratch, prefix=f"{datasets.SCRATCH}-")  # noqa: SIM115
        unfinished.callback(copy.close)
        version = write_without_statistics(file, copy)
        copy.seek(0)
        unfinished.pop_all()
    return version, copy


def results_file(
    parts: Parts, reader: Ticket, id_: str, format_: Format, is_known: IsKnown
) -> StoredFile:
    """Return a file of a batch prediction's results; a deletion of what made it ends its transfer.

    Raises:
        NotReady: `results_damaged`.
        Conflict, NotFound, Gone: as `batch_predictions.finished`.
    """
    reader.enter()
    with transaction(parts.reading) as session:
        row = batch_predictions.finished(session, id_)
    files = {"jsonl": (row.jsonl_key, row.jsonl_sha256), "csv": (row.csv_key, row.csv_sha256)}
    key, version = (str(each) for each in files[format_])

    def is_stored() -> bool:
        return parts.blobs.path(key, must_exist=False).exists()

    if is_known(version):
        reader.leave()
        return StoredFile(version, None, is_stored)
    used = [part[name] for part in row.selection["components"] for name in ("id", "sha256")]
    reader.hand_over([id_, version, *used, *([row.dataset_id] if row.dataset_id else [])])
    try:
        return StoredFile(version, parts.checked.open(parts.blobs, key, version), is_stored)
    except DamagedFile as lost:
        with transaction(parts.reading) as session:  # deleted just now?
            batch_predictions.finished(session, id_)
        raise NotReady(
            "results_damaged",
            f"the file {key} {lost.fault}: restore it, or DELETE the batch prediction and request "
            "another one",
        ) from lost


def image_file(
    parts: Parts,
    reader: Ticket,
    dataset_id: str,
    image_id: str,
    size: int | None,
    is_known: IsKnown,
) -> ImageFile:
    """Return the image, or its thumbnail of `size` pixels; a deletion of it ends its transfer.

    Raises:
        NotReady: `image_damaged`.
        Invalid: `image_unreadable`.
        NotFound, Gone: as `datasets.image`.
    """

    def read_row() -> tuple[Dataset, Image]:
        with transaction(parts.reading) as session:
            return datasets.image(session, dataset_id, image_id)

    reader.enter()
    dataset, image = read_row()
    version, media_type = f"{image.sha256}-{size}" if size else image.sha256, image.media_type
    if is_known(version):
        reader.leave()
        return ImageFile(version, None, media_type)
    try:
        data = datasets.read(parts.blobs, dataset, image)
    except BlobMissing:
        dataset, image = read_row()  # deleted, or put into another pack, just now?
        data = _read(parts, dataset, image)
    if size is not None:
        reader.leave()  # deletions do not wait for the decoding
        data, media_type = _thumbnail(parts, image, data, size)
        reader.enter()
        read_row()
    reader.hand_over([dataset.id, dataset.pack_key])
    return ImageFile(version, data, media_type)


def _read(parts: Parts, dataset: Dataset, image: Image) -> bytes:
    try:
        return datasets.read(parts.blobs, dataset, image)
    except BlobMissing as missing:
        damage.note_images(parts.sessions, dataset, [image.id])
        raise stored_images.damaged(missing) from None


def _thumbnail(parts: Parts, image: Image, data: bytes, size: int) -> tuple[bytes, str]:
    budget = Budget(times=ACCEPTED_TIMES)
    try:
        return decoder_of(parts.settings).thumbnail(data, size, budget)
    except BadImage as bad:  # stored under other limits
        raise stored_images.unreadable(image.path, bad.reason) from bad
