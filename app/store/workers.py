"""Worker processes: their signs of life, and what they hold of the components in training.

An attempt is one run of a training by one worker; its number is the component's `attempts`. The row
of a component that another worker has started meanwhile has a higher number, so an attempt is held
only by whoever started it last.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.store.db import affected
from app.store.tables import Component, ComponentEvent, Worker, now


def beat(session: Session, executor_id: str) -> None:
    """Note that this worker lives, by the database's clock."""
    clock = _clock(session)
    mine = update(Worker).where(Worker.executor_id == executor_id)
    if affected(session, mine.values(beat_at=clock)) == 0:
        session.add(Worker(executor_id=executor_id, started_at=clock, beat_at=clock))
        session.flush()


def alive(session: Session, *, dead_seconds: float) -> set[str]:
    """The workers that gave a sign of life within the last `dead_seconds`."""
    since = _clock(session) - timedelta(seconds=dead_seconds)
    return set(session.scalars(select(Worker.executor_id).where(Worker.beat_at >= since)))


def known(session: Session) -> set[str]:
    """Every worker that has not left, dead or alive."""
    return set(session.scalars(select(Worker.executor_id)))


def leave(session: Session, executor_id: str) -> None:
    """Take the worker off the list; nothing if it is not on it."""
    session.execute(delete(Worker).where(Worker.executor_id == executor_id))


def holds(session: Session, component_id: str, attempt: int) -> bool:
    """Whether this attempt is still the one that trains: not cancelled, deleted or taken over."""
    return session.scalar(_attempt(component_id, attempt)) is not None


def locks(session: Session, component_id: str, attempt: int) -> bool:
    """As `holds`, and nobody can change that before the caller's transaction ends."""
    return session.scalar(_attempt(component_id, attempt).with_for_update()) is not None


def release(session: Session, component_id: str, attempt: int) -> bool:
    """Give an attempt up that ended by no fault of its own, so that it does not count."""
    given_up = (
        update(Component)
        .where(
            Component.id == component_id,
            Component.status == "training",
            Component.attempts == attempt,
        )
        .values(status="queued", attempts=attempt - 1, progress={})
    )
    if affected(session, given_up) == 0:
        return False
    event = ComponentEvent(component_id=component_id, type="status", data={"status": "queued"})
    session.add(event)
    session.flush()
    return True


def _attempt(component_id: str, attempt: int):
    return select(Component.id).where(
        Component.id == component_id,
        Component.status == "training",
        Component.attempts == attempt,
    )


def _clock(session: Session) -> datetime:
    """The database's time: one clock for workers on many machines; on SQLite there is only ours."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    return session.scalars(select(func.clock_timestamp())).one()
