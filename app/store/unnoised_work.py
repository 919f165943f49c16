"""Components that are being made of a dataset's images without noise, as it gets a budget."""

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import ACTIVE, Component, ComponentParent


class Derivation(NamedTuple):
    """A derivation that waits or runs, and the losses of its parents that know the dataset."""

    component: Component
    losses: list[str]


def trainings(session: Session, dataset_id: str) -> list[Component]:
    """Return trainings of the dataset, and derivations that fit to it, that wait or run.

    One that was ready before and is being made again is none: it was made before the budget.
    """
    mine = Component.dataset_id == dataset_id, Component.status.in_(ACTIVE)
    new = Component.privacy.is_(None), Component.retraining.is_(False)
    return list(session.scalars(select(Component).where(*mine, *new).order_by(Component.id)))


def derivations(session: Session, dataset_id: str) -> list[Derivation]:
    """Return the derivations that wait or run and have parents that were trained from it."""
    parents = select(Component).where(
        Component.dataset_id == dataset_id, Component.derived.is_(None)
    )
    trained = {row.id: row.hyperparameters["loss"] for row in session.scalars(parents)}
    links = (
        select(Component, ComponentParent.parent_id)
        .join(ComponentParent, ComponentParent.component_id == Component.id)
        .where(Component.status.in_(ACTIVE), Component.derived.is_not(None))
        .order_by(Component.id)
    )
    losses: defaultdict[str, list[str]] = defaultdict(list)
    found = {}
    for row, parent_id in session.execute(links):
        if parent_id in trained:
            found[row.id] = row
            losses[row.id].append(trained[parent_id])
    return [Derivation(row, losses[row.id]) for row in found.values()]
