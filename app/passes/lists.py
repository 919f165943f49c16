"""Lists of evaluations and batch predictions, as app.store.lists has those of other nouns."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Dataset,
    Evaluation,
    EvaluationMember,
)
from app.passes.queue import Pass
from app.store.lists import Asked, both_ways, equal, listed

Row = TypeVar("Row", Evaluation, BatchPrediction)

MEMBERS: dict[type[Pass], Any] = {
    Evaluation: (EvaluationMember.component_id, EvaluationMember.evaluation_id),
    BatchPrediction: (
        BatchPredictionMember.component_id,
        BatchPredictionMember.batch_prediction_id,
    ),
}


def passes(
    session: Session,
    table: type[Row],
    asked: Asked,
    *,
    space: str | None = None,
    status: str | None = None,
    dataset_id: str | None = None,
    component_id: str | None = None,
) -> list[Row]:
    """Return the passes of one kind; those of a component are the ones that it has a part in."""
    same = {table.space: space, table.status: status, table.dataset_id: dataset_id}
    query = select(table).where(*equal(same), *_of_visible_datasets(session, table))
    if component_id is not None:
        member, of = MEMBERS[table]
        query = query.where(table.id.in_(select(of).where(member == component_id)))
    orders = both_ways(table.id, created_at=table.id)
    return listed(session, query, table.space, orders, asked)


def _of_visible_datasets(session: Session, table: type[Row]) -> list[ColumnElement[bool]]:
    """Return the condition of `queue.is_seen` on datasets."""
    seen = callers.seen(session, Dataset.space)
    if not seen:
        return []
    visible = table.dataset_id.in_(select(Dataset.id).where(*seen))
    own = table.dataset_id.is_(None) & (table.created_by == callers.key_id_of(session))
    of_archive = [BatchPrediction.archive.is_not(None)] if table is BatchPrediction else []
    return [or_(visible, own, *of_archive)]
