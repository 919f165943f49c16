"""What would go with a component: labels, compositions' members and weights, evaluations."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, or_, select
from sqlalchemy.orm import Session

from app.store import components, fitted_weights, lineage
from app.store.members import in_all
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
    derived: list[str]  # ids of what was derived from it, and goes with it
    labels_gone: list[str]
    compositions: list[dict[str, Any]]
    evaluations: int


def of(session: Session, component_id: str) -> Preview:
    """The preview of a component's deletion, whatever its status.

    Raises:
        NotFound, Gone: as `components.get`.
    """
    row = components.get(session, component_id)
    derived = lineage.descendants(session, [component_id])
    gone = [component_id, *derived]
    return Preview(
        space=row.space,
        derived=derived,
        labels_gone=_labels_gone(session, row, gone),
        compositions=_compositions(session, row, gone),
        evaluations=_evaluations(session, gone),
    )


def _labels_gone(session: Session, row: Component, gone: list[str]) -> list[str]:
    query = select(Component.id, Component.labels).where(
        Component.space == row.space, Component.status == "ready"
    )
    brought, kept = set[str](), set(session.get_one(Space, row.space).declared_labels)
    for component_id, labels in session.execute(query):
        (brought if component_id in gone else kept).update(labels)
    return sorted(brought - kept)


def _compositions(session: Session, row: Component, gone: list[str]) -> list[dict[str, Any]]:
    members = select(CompositionMember.composition).where(CompositionMember.component_id.in_(gone))
    using: ColumnElement[bool] = Composition.name.in_(members)
    if row.status == "ready" and row.derived is None:  # it is one of all
        using = or_(using, Composition.everything & (Composition.space == row.space))
    count = select(func.count()).where(
        Component.id != row.id, Component.space == row.space, *in_all()
    )
    others = session.scalar(count) or 0
    return [
        {
            "name": found.name,
            "named": not found.everything,
            "solved_weights_lost": fitted_weights.held(found),
            "components_left": others
            if found.everything
            else sum(member.component_id not in gone for member in found.members),
        }
        for found in session.scalars(select(Composition).where(using).order_by(Composition.name))
    ]


def _evaluations(session: Session, gone: list[str]) -> int:
    query = select(func.count(distinct(Evaluation.id))).join(
        EvaluationMember, EvaluationMember.evaluation_id == Evaluation.id
    )
    using = EvaluationMember.component_id.in_(gone), Evaluation.status == "ready"
    return session.scalar(query.where(*using)) or 0
