"""Evaluations as rows: a selection, a dataset and the counts. Deletion invalidates them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.access import callers, quotas
from app.database.sessions import hold_write_lock
from app.database.tables import (
    Dataset,
    Evaluation,
    EvaluationAnswers,
    EvaluationMember,
    IdempotencyKey,
)
from app.datasets.training_images import count_in
from app.errors import NotFound
from app.passes import queue
from app.passes.queue import UNAVAILABLE, Held
from app.store import fitted_weights
from app.store.members import require_unchanged

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


def add(
    session: Session,
    *,
    selection: Mapping[str, Any],
    unavailable: Sequence[Mapping[str, str]],
    model: Mapping[str, Any],
    dataset: Dataset,
    split: str | None,
    max_queued: int,
) -> Evaluation:
    """Queue an evaluation, unless a deletion has come in between.

    `model` is what is computed for the selection; `unavailable` are the components that it is
    without, as they are shown.

    Raises:
        Gone, Conflict: as `require_unchanged` and `fitted_weights.fitted_to`.
        Invalid: `split_empty`.
        TooManyRequests: `queue_full`.
        Forbidden: `quota_exceeded`.
    """
    # A deletion either sees the evaluation and invalidates it, or comes before it.
    hold_write_lock(session)
    require_unchanged(session, [*selection["components"], *model["parts"]], dataset)
    queue.check_room(session, max_queued)
    quotas.check(session, max_evaluations=1)
    row = Evaluation(space=selection["space"], dataset_id=dataset.id, status="queued")
    row.selection, row.model = {**selection, UNAVAILABLE: list(unavailable)}, dict(model)
    row.split, row.total = split, count_in(dataset, split)
    row.fitted_to = fitted_weights.fitted_to(session, selection)
    row.created_by = callers.key_id_of(session)
    session.add(row)
    session.flush()
    for component_id, is_used in queue.members_of(row).items():
        key = {"evaluation_id": row.id, "component_id": component_id}
        session.add(EvaluationMember(**key, used=is_used))
    session.flush()
    return row


def get(session: Session, evaluation_id: str) -> Evaluation:
    """Return the evaluation with this id as it is now, if the session's caller may see it.

    Raises:
        NotFound: `evaluation_not_found`.
    """
    row = session.get(Evaluation, evaluation_id, populate_existing=True)
    if row is None or not queue.is_seen(session, row):
        raise NotFound(
            "evaluation_not_found",
            f"no evaluation {evaluation_id!r}: GET /v1/evaluations lists those there are",
        )
    return row


def cancel(session: Session, evaluation_id: str) -> Evaluation:
    """End the evaluation, and return it.

    Raises:
        Conflict: `evaluation_finished`.
        NotFound: as `get`.
    """
    row = get(session, evaluation_id)
    queue.cancel(session, row)
    return row


def publish(
    session: Session, held: Held, result: Mapping[str, Any], answers: EvaluationAnswers
) -> bool:
    """Store the result; False if the attempt has ended, or a deletion has come in between."""
    hold_write_lock(session)
    if not queue.publish(session, held, result=dict(result)):
        return False
    session.add(answers)
    return True


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
