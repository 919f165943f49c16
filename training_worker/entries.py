"""The training images of a dataset, from its rows."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.row_checksums import damaged_row
from app.database.tables import Image
from app.datasets import datasets, training_images
from training_worker.source import Entry, in_order


def entries(session: Session, dataset_id: str) -> list[Entry]:
    """Return the dataset's training images in the order of a training.

    Raises:
        Invalid: `nothing_to_train`.
        DamagedRow: of an image.
    """
    columns = [getattr(Image, name) for name in Entry._fields]
    mine = Image.dataset_id == dataset_id, training_images.training_only()
    rows = session.execute(select(Image.intact, *columns).where(*mine))
    found = [(intact, Entry(*columns)) for intact, *columns in rows]
    for intact, entry in found:
        if not intact:
            raise damaged_row(f"image {entry.id}")
    if not found:
        raise training_images.nothing_to_train(datasets.get(session, dataset_id))
    return in_order(entry for _, entry in found)
