"""A dataset's images through a selection's space, a chunk at a time, until a deletion ends it."""

from collections.abc import Collection, Iterator
from typing import Any

from app.api.deps import Sessions
from app.engine import Engine
from app.selections import used
from app.store import datasets, evaluations
from app.store.blobs import LocalBlobs
from app.store.compositions import Selection
from app.store.db import transaction
from app.store.tables import Image


def walk(
    engine: Engine,
    blobs: LocalBlobs,
    reading: Sessions,
    selection: Selection,
    dataset_id: str,
    *,
    chunk: int,
    labels: Collection[str] | None = None,
) -> Iterator[tuple[list[Image], list[Any]]]:
    """Rows and the network's inputs, at most `chunk` of them; all, or those of these labels.

    Raises:
        Gone, Conflict: as `evaluations.require`, before each chunk.
    """
    described, after = used(selection), None
    while True:
        with transaction(reading) as session:
            evaluations.require(session, described, dataset_id)
            dataset = datasets.get(session, dataset_id)
            rows = datasets.images(session, dataset_id, label=None, after=after, limit=chunk)
        if not rows:
            return
        after = rows[-1].id
        known = [row for row in rows if labels is None or row.label in labels]
        if known:
            files = (datasets.read(blobs, dataset, row) for row in known)
            yield known, [engine.read(selection.space, file) for file in files]
