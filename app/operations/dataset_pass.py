"""A pass over a dataset's images, a chunk at a time; a deletion ends the pass."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from app.database.sessions import transaction
from app.database.tables import Dataset, Image, Space
from app.datasets import datasets
from app.files import stored_images
from app.files.blobs import BlobMissing
from app.files.component_files import DamagedFile
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.chunks import CHUNK, chunks
from app.images.image_files import BadImage
from app.inference.selection import selection_fields
from app.parts import Parts
from app.store import damage
from app.store.compositions import Selection
from app.store.members import require_unchanged

Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """A dataset's images for the components of a selection, both as they were at the begin."""

    space: Space
    components: Sequence[Mapping[str, Any]]  # an id and a sha256 each
    dataset: Dataset
    split: str | None = None  # see app.datasets.training_images.in_split

    @classmethod
    def of(cls, selection: Selection, dataset: Dataset, split: str | None = None) -> "Source":
        """Return the dataset's images for the selection's components."""
        return cls(selection.space, selection_fields(selection)["components"], dataset, split)

    def require(self, parts: Parts) -> None:
        """Check that nothing has changed.

        Raises:
            Gone, Conflict: as `require_unchanged`.
        """
        with transaction(parts.reading) as session:
            require_unchanged(session, self.components, self.dataset)


def dataset_pass(
    parts: Parts,
    source: Source,
    work: Callable[[list[Any]], Result],
    *,
    labels: Collection[str] | None = None,
    is_patient: bool = False,
) -> Iterator[tuple[list[Image], Result]]:
    """Yield image rows with the result of `work` on their pixels, as many as `image_rows` yields.

    `labels` restricts the pass to images of these labels. A patient one waits for its turns at
    decoding as long as it takes.

    Raises:
        Gone, Conflict: as `require_unchanged`, before each chunk.
        NotReady: `image_damaged`.
        Invalid: `image_unreadable`.
    """
    budget = Budget(times=ACCEPTED_TIMES, is_patient=is_patient)
    for rows in image_rows(parts, source):
        known = [row for row in rows if labels is None or row.label in labels]
        if known:
            files = [read_image(parts, source, row) for row in known]
            try:
                result = work(_pixels(parts, source.space, known, files, budget))
            except DamagedFile:
                source.require(parts)  # deleted just now?
                raise
            yield known, result


def image_rows(parts: Parts, source: Source) -> Iterator[list[Image]]:
    """Yield the dataset's rows in the archive's order, a chunk at a time.

    Raises:
        Gone, Conflict: as `require_unchanged`, before each chunk.
    """
    after = None
    while True:
        with transaction(parts.reading) as session:
            require_unchanged(session, source.components, source.dataset)
            rows = datasets.images(
                session,
                source.dataset.id,
                label=None,
                split=source.split,
                after=after,
                limit=CHUNK,
            )
        if not rows:
            return
        some = next(chunks(rows, lambda row: row.pack_length))
        after = some[-1].id
        yield some


def read_image(parts: Parts, source: Source, row: Image) -> bytes:
    """Return the image's file.

    Raises:
        NotReady: `image_damaged`.
        Gone, Conflict: as `require_unchanged`.
    """
    try:
        return datasets.read(parts.blobs, source.dataset, row)
    except BlobMissing as missing:
        source.require(parts)  # deleted by another process just now?
        damage.note_images(parts.sessions, source.dataset, [row.id])
        raise stored_images.damaged(missing) from None


def _pixels(
    parts: Parts, space: Space, rows: list[Image], files: list[bytes], budget: Budget
) -> list[Any]:
    pixels = parts.spaces.pixels(space, files, budget)
    for row, found in zip(rows, pixels, strict=True):
        if isinstance(found, BadImage):
            raise stored_images.unreadable(row.path, found.reason) from found
    return pixels
