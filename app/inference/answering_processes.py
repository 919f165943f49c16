"""The rows of the processes that answer: their leases' lengths, and the epochs that they confirm.

What the rows mean, and why that is enough, is in app.inference.lease.
"""

import os
import socket
from typing import NamedTuple

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from app.database.lease_tables import AnsweringProcess
from app.database.ledger_order import receipts_so_far
from app.database.sessions import transaction


class Look(NamedTuple):
    """The number of the last receipt, and the epoch that the process has confirmed."""

    epoch: int
    confirmed: int | None


class Process(NamedTuple):
    """Another process's row."""

    id: str
    name: str
    lease_seconds: float
    epoch: int | None


def own_name() -> str:
    """Return this process's name for people: its host and its number there."""
    return f"{socket.gethostname()}/{os.getpid()}"


def confirm(session: Session, process_id: str, epoch: int) -> bool:
    """Note that the process answers nothing older than this; False if it is not registered."""
    mine = update(AnsweringProcess).where(AnsweringProcess.id == process_id)
    found = session.execute(mine.values(epoch=epoch).returning(AnsweringProcess.id))
    return found.first() is not None


class ProcessRows:
    """The rows in one database, every call in a transaction of its own."""

    def __init__(self, reading: sessionmaker[Session], sessions: sessionmaker[Session]) -> None:
        self._reading, self._sessions = reading, sessions

    def register(self, process_id: str, lease_seconds: float) -> None:
        """Add the process's row, with no epoch yet."""
        with transaction(self._sessions) as session:
            row = AnsweringProcess(id=process_id, name=own_name(), lease_seconds=lease_seconds)
            session.add(row)

    def look(self, process_id: str) -> Look | None:
        """Read the epoch and the process's row at one moment; None if there is no row."""
        # One statement: on Postgres, two could see different moments.
        query = select(receipts_so_far(), AnsweringProcess.epoch)
        with transaction(self._reading) as session:
            found = session.execute(query.where(AnsweringProcess.id == process_id)).first()
        return None if found is None else Look(*found)

    def confirm(self, process_id: str, epoch: int) -> bool:
        """Note that the process answers nothing older than this; False if it has no row."""
        with transaction(self._sessions) as session:
            return confirm(session, process_id, epoch)

    def others(self, process_id: str) -> list[Process]:
        """Return the rows of all other processes."""
        row = AnsweringProcess
        query = select(row.id, row.name, row.lease_seconds, row.epoch).where(row.id != process_id)
        with transaction(self._reading) as session:
            return [Process(*found) for found in session.execute(query)]

    def remove(self, process_id: str, *, before: int | None = None) -> None:
        """Remove the process's row; with `before`, only if it has confirmed no such epoch.

        A row that its process holds locked stays: a stopped process may do so for any time.
        """
        row = AnsweringProcess
        found = select(row.id).where(row.id == process_id)
        if before is not None:
            found = found.where(or_(row.epoch.is_(None), row.epoch < before))
        with transaction(self._sessions) as session:
            ids = session.scalars(found.with_for_update(skip_locked=True)).all()
            session.execute(delete(row).where(row.id.in_(ids)))
