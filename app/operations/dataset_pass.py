"""A pass over a dataset's images, a chunk at a time; a deletion ends the pass."""

from collections.abc import Collection, Iterator
from typing import Any

from app.database.sessions import transaction
from app.database.tables import Dataset, Image
from app.files.blobs import BlobMissing, LocalBlobs
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.image_files import BadImage
from app.inference.engine.engine import Engine
from app.inference.selection import selection_fields
from app.parts import Sessions
from app.store import datasets, evaluations
from app.store.compositions import Selection


def dataset_pass(
    engine: Engine,
    blobs: LocalBlobs,
    reading: Sessions,
    selection: Selection,
    dataset: Dataset,
    *,
    chunk: int,
    labels: Collection[str] | None = None,
) -> Iterator[tuple[list[Image], list[Any]]]:
    """Yield image rows with the network's inputs, at most `chunk` at a time.

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
        with transaction(reading) as session:
            evaluations.require(session, described, dataset)
            rows = datasets.images(session, dataset.id, label=None, after=after, limit=chunk)
        if not rows:
            return
        after = rows[-1].id
        known = [row for row in rows if labels is None or row.label in labels]
        if known:
            try:
                files = [datasets.read(blobs, dataset, row) for row in known]
            except BlobMissing as missing:
                with transaction(reading) as session:  # deleted by another process just now?
                    evaluations.require(session, described, dataset)
                raise datasets.damaged(missing) from None
            yield known, _inputs(engine, selection, known, files, budget)


def _inputs(
    engine: Engine, selection: Selection, rows: list[Image], files: list[bytes], budget: Budget
) -> list[Any]:
    inputs = engine.read(selection.space, files, budget)
    for row, found in zip(rows, inputs, strict=True):
        if isinstance(found, BadImage):
            raise datasets.unreadable(row.path, found.reason) from found
    return inputs
