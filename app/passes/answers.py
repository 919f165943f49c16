"""The answers of an evaluation, image by image: which ones were wrong, and which another changed.

    answers.note(image.id, "cat")            while it is computed
    answers.row(evaluation_id)               at its end: one row, with the evaluation's result
    read(session, row).of(image.id)          "cat"; None: the image was not asked

The row is as small as the answers are alike: four bytes an image before compression, by the number
that ends an image's id. It goes with the evaluation, and as soon as a deletion or another change of
the dataset invalidates that: so it never speaks of an image that is not there, and the images'
labels and paths are those of the dataset's rows.
"""

import base64
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.row_checksums import KEPT
from app.database.tables import Evaluation, EvaluationAnswers, Image
from app.datasets import datasets
from app.errors import Conflict, Invalid
from app.passes import evaluations

NUMBERS = np.dtype("<u4")
ROWS_AT_ONCE = 2000
CHANGES = ("fixed", "broken", "other")


def change_of(label: str, found: str, before: str) -> str:
    """Return what became of a wrong or right answer that is another one now."""
    return "fixed" if found == label else "broken" if before == label else "other"


class Answers:
    """The answered label of each image; an image without one was not asked."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}  # labels by their numbers, from 1 on; 0: not asked
        self._labels: list[str] = []
        self._numbers = np.zeros(0, NUMBERS)

    def note(self, image_id: str, label: str) -> None:
        """Note the answer to one image."""
        place = _place(image_id)
        if place >= len(self._numbers):
            longer = np.zeros(max(place + 1, 2 * len(self._numbers)), NUMBERS)
            longer[: len(self._numbers)] = self._numbers
            self._numbers = longer
        if label not in self._known:
            self._labels.append(label)
            self._known[label] = len(self._labels)
        self._numbers[place] = self._known[label]

    def of(self, image_id: str) -> str | None:
        """Return the label that was answered."""
        place = _place(image_id)
        number = int(self._numbers[place]) if place < len(self._numbers) else 0
        return self._labels[number - 1] if number else None

    def row(self, evaluation_id: str) -> EvaluationAnswers:
        """Return the row that keeps the answers."""
        packed = base64.b85encode(zlib.compress(self._numbers.tobytes())).decode()
        return EvaluationAnswers(
            evaluation_id=evaluation_id, labels=list(self._labels), answered=packed
        )

    @classmethod
    def of_row(cls, row: EvaluationAnswers) -> "Answers":
        """Return the answers that a row keeps."""
        kept = cls()
        kept._labels = list(row.labels)
        kept._numbers = np.frombuffer(zlib.decompress(base64.b85decode(row.answered)), NUMBERS)
        return kept


class Asked(NamedTuple):
    """The images of an evaluation that a request is about."""

    wrong: bool | None = None  # None: right and wrong ones
    label: str | None = None  # the image's own
    answered: str | None = None
    change: str | None = None  # one of CHANGES, of a comparison


class AnsweredImage(NamedTuple):
    """An image, its answer, and its answer in the evaluation that is compared with."""

    image: Image
    answered: str
    before: str | None

    @property
    def change(self) -> str | None:
        """Return one of CHANGES: what became of the answer before."""
        return self.before and change_of(self.image.label, self.answered, self.before)


def read(session: Session, evaluation_id: str) -> tuple[Evaluation, Answers]:
    """Return an evaluation that is ready, and its answers.

    Raises:
        NotFound: as `evaluations.get`.
        Conflict: `evaluation_not_ready` or `answers_not_kept`.
    """
    row = evaluations.get(session, evaluation_id)
    if row.status != "ready" or row.dataset_id is None:
        by = f", see receipt {row.invalidated_by}" if row.invalidated_by else ""
        raise Conflict(
            "evaluation_not_ready",
            f"evaluation {evaluation_id} is {row.status}{by}: there are no answers to show; wait "
            "until it is ready, or evaluate again",
        )
    kept = session.get(EvaluationAnswers, evaluation_id, populate_existing=True)
    if kept is None:
        raise Conflict(
            "answers_not_kept",
            f"evaluation {evaluation_id} was made by a version that kept no answers of single "
            "images: evaluate again",
        )
    return row, Answers.of_row(kept)


def list_(
    session: Session,
    evaluation_id: str,
    asked: Asked,
    *,
    compared_to: str | None,
    after: str | None,
    limit: int,
) -> list[AnsweredImage]:
    """Return images after the cursor, in the dataset's order.

    With `compared_to`, an earlier evaluation of the dataset, only those that it answered otherwise.

    Raises:
        NotFound, Conflict: as `read`.
        Invalid: `other_dataset` or `nothing_compared`.
    """
    row, answers = read(session, evaluation_id)
    if asked.change is not None and compared_to is None:
        raise Invalid("nothing_compared", "change needs compared_to, the id of an evaluation")
    before = None
    if compared_to is not None:
        other, before = read(session, compared_to)
        if other.dataset_id != row.dataset_id:
            raise Invalid(
                "other_dataset",
                f"evaluation {compared_to} is of dataset {other.dataset_id}, and {evaluation_id} "
                f"of {row.dataset_id}: compare evaluations of one dataset",
            )
    chosen: dict[str, tuple[str, str | None]] = {}
    for image_id, label in _labels(session, str(row.dataset_id), after, asked.label):
        found, old = answers.of(image_id), before.of(image_id) if before else None
        if found is not None and _is_asked(asked, label, found, old, before is not None):
            chosen[image_id] = found, old
            if len(chosen) == limit:
                break
    images = select(Image).where(Image.id.in_(chosen)).order_by(Image.id)
    rows = session.scalars(images.execution_options(**KEPT))
    return [AnsweredImage(image, *chosen[image.id]) for image in rows]


def _is_asked(asked: Asked, label: str, found: str, before: str | None, compared: bool) -> bool:
    if compared and (before is None or before == found):
        return False
    if before is not None and asked.change not in (None, change_of(label, found, before)):
        return False
    if asked.answered is not None and found not in datasets.spellings(asked.answered):
        return False
    return asked.wrong is None or asked.wrong == (found != label)


def _labels(
    session: Session, dataset_id: str, after: str | None, label: str | None
) -> Iterator[tuple[str, str]]:
    """Yield id and label of the dataset's images after the cursor."""
    mine = Image.dataset_id == dataset_id
    query = select(Image.id, Image.label).where(mine).order_by(Image.id).limit(ROWS_AT_ONCE)
    if label is not None:
        query = query.where(Image.label.in_(datasets.spellings(label)))
    last = after or ""
    while rows := session.execute(query.where(Image.id > last)).all():
        yield from ((row.id, row.label) for row in rows)
        last = rows[-1].id


def _place(image_id: str) -> int:
    """Return the number that ends an image's id: its place in the dataset's order."""
    return int(image_id.rpartition("_")[2])
