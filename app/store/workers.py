"""Worker processes: their signs of life, and the attempts at training that they hold.

An attempt is one run of a training by one worker; its number is the component's `attempts`, within
the component's generation. Another worker's start raises the number, and a change of the data the
generation, so only the worker that started last holds the attempt.
"""

from datetime import datetime, timedelta
from typing import NamedTuple, Self

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from app.database.sessions import affected
from app.database.tables import Component, ReaperLease, Worker, now


class Attempt(NamedTuple):
    """One attempt at training one generation of a component."""

    component_id: str
    generation: int
    number: int

    @classmethod
    def of(cls, component: Component) -> Self:
        """Return the attempt that the row showed when it was read."""
        return cls(component.id, component.generation, component.attempts)


def beat(session: Session, executor_id: str) -> None:
    """Note that this worker lives, by the database's clock."""
    time = clock(session)
    mine = update(Worker).where(Worker.executor_id == executor_id)
    if affected(session, mine.values(beat_at=time)) == 0:
        session.add(Worker(executor_id=executor_id, started_at=time, beat_at=time))
        session.flush()


def alive(session: Session, *, dead_seconds: float) -> set[str]:
    """Return the workers that gave a sign of life within the last `dead_seconds`."""
    since = clock(session) - timedelta(seconds=dead_seconds)
    return set(session.scalars(select(Worker.executor_id).where(Worker.beat_at >= since)))


def known(session: Session) -> set[str]:
    """Return every worker that has not left, dead or alive."""
    return set(session.scalars(select(Worker.executor_id)))


def leave(session: Session, executor_id: str) -> None:
    """Delete the worker's row, if there is one."""
    session.execute(delete(Worker).where(Worker.executor_id == executor_id))


def take_lease(session: Session, executor_id: str, *, seconds: float) -> bool:
    """Take or renew the right to reap for some seconds; False while another worker has it.

    A transaction that only one can be in at a time decides, as every writing one on SQLite is.
    """
    time, span = clock(session), timedelta(seconds=seconds)
    lease = session.get(ReaperLease, 1)
    if lease is None:
        session.add(ReaperLease(number=1, holder=executor_id, expires_at=time + span))
        return True
    # A lease that ends later than one can was taken before the clock was set back.
    if lease.holder != executor_id and time < lease.expires_at <= time + span:
        return False
    lease.holder, lease.expires_at = executor_id, time + span
    return True


def give_lease_back(session: Session, executor_id: str) -> None:
    """End the lease, if this worker still has it."""
    session.execute(delete(ReaperLease).where(ReaperLease.holder == executor_id))


def holds(session: Session, attempt: Attempt) -> bool:
    """Return True if this attempt still trains: not cancelled, deleted or taken over."""
    return session.scalar(select(Component.id).where(*_held(attempt))) is not None


def locks(session: Session, attempt: Attempt) -> bool:
    """Return `holds`, and lock the component until the caller's transaction ends."""
    held = select(Component.id).where(*_held(attempt)).with_for_update()
    return session.scalar(held) is not None


def _held(attempt: Attempt) -> tuple[ColumnElement[bool], ...]:
    return (
        Component.id == attempt.component_id,
        Component.status == "training",
        Component.generation == attempt.generation,
        Component.attempts == attempt.number,
    )


def clock(session: Session) -> datetime:
    """Return the time by one clock for all machines: the database's; on SQLite, this machine's."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    time: datetime = session.scalars(select(func.clock_timestamp())).one()
    return time
