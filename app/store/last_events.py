"""The last event of many components at once, for whoever waits for the next ones."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.tables import Component, ComponentEvent


def last_events(session: Session, ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """Return the status and the number of the last event of each of these that exists."""
    query = (
        select(Component.id, Component.status, func.coalesce(func.max(ComponentEvent.id), 0))
        .outerjoin(ComponentEvent, ComponentEvent.component_id == Component.id)
        .where(Component.id.in_(ids))
        .group_by(Component.id, Component.status)
    )
    return {id_: (status, last) for id_, status, last in session.execute(query)}
