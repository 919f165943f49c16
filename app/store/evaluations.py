"""Evaluations as rows: a selection, a dataset and the counts. Deletion invalidates them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.row_checksums import KEPT
from app.database.sessions import hold_write_lock
from app.database.tables import Dataset, Evaluation, EvaluationMember, IdempotencyKey
from app.errors import Conflict, NotFound
from app.store import components, datasets, quotas

UNAVAILABLE = "unavailable_components"  # of a selection; those of before have none
Counts = Mapping[str, Mapping[str, int]]  # true label -> answered label -> images


def result_of(confusion: Counts) -> dict[str, Any]:
    """Return the accuracy overall and by label from the counts, sorted by label."""
    labels: dict[str, dict[str, float]] = {}
    images = correct = 0
    for label, answers in sorted(confusion.items()):
        asked, right = sum(answers.values()), answers.get(label, 0)
        labels[label] = {"images": asked, "correct": right, "accuracy": right / asked}
        images, correct = images + asked, correct + right
    return {
        "num_images": images,
        "accuracy": correct / images if images else None,
        "labels": labels,
        "confusion": {label: dict(sorted(confusion[label].items())) for label in labels},
    }


def require(session: Session, selection: Mapping[str, Any], dataset: Dataset) -> None:
    """Check that the evaluation's dataset and components still exist unchanged.

    `dataset` is the row as it was read when the evaluation began.

    Raises:
        Gone: the dataset's or a component's.
        Conflict: `dataset_changed` if an image was deleted or a label renamed since;
            `selection_changed` if a component is not the one that was evaluated.
    """
    revision = dataset.revision  # before the row, which may be the same object, is read again
    if datasets.get(session, dataset.id).revision != revision:
        raise Conflict(
            "dataset_changed",
            f"images or labels of dataset {dataset.id} changed in the meantime: ask again",
        )
    for part in selection["components"]:
        if components.get(session, part["id"]).sha256 != part["sha256"]:
            raise Conflict(
                "selection_changed",
                f"component {part['id']} changed during the evaluation: evaluate again",
            )


def add(
    session: Session,
    *,
    selection: Mapping[str, Any],
    unavailable: Sequence[Mapping[str, str]],
    dataset: Dataset,
    result: Mapping[str, Any],
) -> Evaluation:
    """Store an evaluation, unless a deletion has come in between.

    `unavailable` are the components that the result is without, as they are shown.

    Raises:
        Gone, Conflict: as `require`.
        Forbidden: `quota_exceeded`.
    """
    # A deletion either sees the evaluation and invalidates it, or comes before it.
    hold_write_lock(session)
    require(session, selection, dataset)
    quotas.check(session, max_evaluations=1)
    row = Evaluation(
        space=selection["space"],
        dataset_id=dataset.id,
        status="ready",
        selection={**selection, UNAVAILABLE: list(unavailable)},
        result=dict(result),
        created_by=callers.key_id_of(session),
    )
    session.add(row)
    session.flush()
    for part in selection["components"]:
        session.add(EvaluationMember(evaluation_id=row.id, component_id=part["id"]))
    for part in unavailable:
        session.add(EvaluationMember(evaluation_id=row.id, component_id=part["id"], used=False))
    session.flush()
    return row


def get(session: Session, evaluation_id: str) -> Evaluation:
    """Return the evaluation with this id, if the session's caller may see it.

    Raises:
        NotFound: `evaluation_not_found`.
    """
    row = session.get(Evaluation, evaluation_id)
    if row is None or not callers.sees(session, row.space):
        raise NotFound(
            "evaluation_not_found",
            f"no evaluation {evaluation_id!r}: GET /v1/evaluations lists those there are",
        )
    return row


def remove(session: Session, evaluation_id: str) -> None:
    """Delete the evaluation; a repetition of the request that made it evaluates again.

    Raises:
        NotFound: as `get`.
    """
    row = get(session, evaluation_id)
    mine = IdempotencyKey.resource_id == row.id
    session.execute(delete(IdempotencyKey).where(mine))
    session.delete(row)
    session.flush()


def list_(
    session: Session, *, after: str | None, limit: int, dataset_id: str | None = None
) -> list[Evaluation]:
    """Return evaluations after the id `after`, oldest first."""
    visible = callers.seen(session, Evaluation.space)
    query = select(Evaluation).where(*visible).order_by(Evaluation.id).limit(limit)
    if after is not None:
        query = query.where(Evaluation.id > after)
    if dataset_id is not None:
        query = query.where(Evaluation.dataset_id == dataset_id)
    return list(session.scalars(query.execution_options(**KEPT)))
