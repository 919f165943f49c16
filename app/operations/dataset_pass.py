"""A pass over a dataset's images, a chunk at a time; a deletion ends the pass."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from app.database.sessions import transaction
from app.database.tables import Dataset, Image
from app.files.blobs import BlobMissing
from app.files.component_files import DamagedFile
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.image_files import BadImage
from app.inference.selection import selection_fields
from app.parts import Parts
from app.store import damage, datasets, evaluations
from app.store.compositions import Selection

Result = TypeVar("Result")


def dataset_pass(
    parts: Parts,
    selection: Selection,
    dataset: Dataset,
    work: Callable[[list[Any]], Result],
    *,
    chunk: int,
    labels: Collection[str] | None = None,
) -> Iterator[tuple[list[Image], Result]]:
    """Yield image rows with the result of `work` on their pixels, at most `chunk` at a time.

    `labels` restricts the pass to images of these labels. `dataset` is the row as it was when the
    work began.

    Raises:
        Gone, Conflict: as `evaluations.require`, before each chunk.
        NotReady: `image_damaged`.
        Invalid: `image_unreadable`.
    """
    described, after = selection_fields(selection), None
    budget = Budget(times=ACCEPTED_TIMES)
    while True:
        with transaction(parts.reading) as session:
            evaluations.require(session, described, dataset)
            rows = datasets.images(session, dataset.id, label=None, after=after, limit=chunk)
        if not rows:
            return
        after = rows[-1].id
        known = [row for row in rows if labels is None or row.label in labels]
        if known:
            files = [_file(parts, described, dataset, row) for row in known]
            try:
                result = work(_pixels(parts, selection, known, files, budget))
            except DamagedFile:
                with transaction(parts.reading) as session:  # deleted just now?
                    evaluations.require(session, described, dataset)
                raise
            yield known, result


def _file(parts: Parts, described: dict[str, Any], dataset: Dataset, row: Image) -> bytes:
    try:
        return datasets.read(parts.blobs, dataset, row)
    except BlobMissing as missing:
        with transaction(parts.reading) as session:  # deleted by another process just now?
            evaluations.require(session, described, dataset)
        damage.note_images(parts.sessions, dataset.id, [row.id])
        raise datasets.damaged(missing) from None


def _pixels(
    parts: Parts,
    selection: Selection,
    rows: list[Image],
    files: list[bytes],
    budget: Budget,
) -> list[Any]:
    pixels = parts.spaces.pixels(selection.space, files, budget)
    for row, found in zip(rows, pixels, strict=True):
        if isinstance(found, BadImage):
            raise datasets.unreadable(row.path, found.reason) from found
    return pixels
