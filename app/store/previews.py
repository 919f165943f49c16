"""What would go with a component: labels, compositions' members and weights, evaluations."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.store import components, solutions
from app.store.tables import (
    Component,
    Composition,
    CompositionMember,
    Evaluation,
    EvaluationMember,
    Space,
)


@dataclass(frozen=True)
class Preview:
    """The rows that a deletion would change; `compositions` as the API shows them."""

    space: str
    labels_gone: list[str]
    compositions: list[dict[str, Any]]
    evaluations: int


def of(session: Session, component_id: str) -> Preview:
    """The preview of a component's deletion, whatever its status.

    Raises:
        NotFound, Gone: as `components.get`.
    """
    row = components.get(session, component_id)
    return Preview(
        space=row.space,
        labels_gone=_labels_gone(session, row),
        compositions=_compositions(session, row),
        evaluations=_evaluations(session, component_id),
    )


def _labels_gone(session: Session, row: Component) -> list[str]:
    if row.status != "ready":
        return []  # it has brought none
    others = select(Component.labels).where(Component.id != row.id, *_ready(row.space))
    kept = set(session.get_one(Space, row.space).declared_labels)
    for labels in session.scalars(others):
        kept.update(labels)
    return sorted(set(row.labels) - kept)


def _compositions(session: Session, row: Component) -> list[dict[str, Any]]:
    members = select(CompositionMember.composition).where(CompositionMember.component_id == row.id)
    using: ColumnElement[bool] = Composition.name.in_(members)
    if row.status == "ready":
        using = or_(using, Composition.everything & (Composition.space == row.space))
    count = select(func.count()).where(Component.id != row.id, *_ready(row.space))
    others = session.scalar(count) or 0
    return [
        {
            "name": found.name,
            "named": not found.everything,
            "solved_weights_lost": solutions.held(found),
            "components_left": others if found.everything else len(found.members) - 1,
        }
        for found in session.scalars(select(Composition).where(using).order_by(Composition.name))
    ]


def _evaluations(session: Session, component_id: str) -> int:
    query = select(func.count(Evaluation.id)).join(
        EvaluationMember, EvaluationMember.evaluation_id == Evaluation.id
    )
    using = EvaluationMember.component_id == component_id, Evaluation.status == "ready"
    return session.scalar(query.where(*using)) or 0


def _ready(space: str) -> tuple[Any, ...]:
    return Component.space == space, Component.status == "ready"
