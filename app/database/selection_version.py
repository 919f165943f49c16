"""The version of all that selections are made of: every commit that changes any of it adds one.

A process that knows the version of what it has read knows whether it can use it again.
`transaction` raises the version together with the change, and tells the process of every version
that it meets: so nobody who has read something from a process is answered by it with what was there
before.

On Postgres the change also notifies whoever listens, see app.database.selection_watch.
"""

from collections.abc import Callable
from itertools import chain
from threading import Lock
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import ORMExecuteState, Session

from app.database.lease_tables import SelectionVersion
from app.database.tables import Component, ComponentParent, Composition, CompositionMember, Space

CHANNEL = "tangent_selection_version"
OF_SELECTIONS = (Component, ComponentParent, Composition, CompositionMember, Space)
KEEPS_SELECTIONS = "keeps_selections"  # an option of statements that change none, as of progress


class KnownVersion:
    """The latest version that this process has met."""

    def __init__(self, look: Callable[[], int | None] = lambda: 0) -> None:
        """`look` asks for what others have changed; without it, only `see` tells of it."""
        self._look, self._lock, self._number = look, Lock(), 0

    def latest(self) -> int | None:
        """Return the latest version; None if it cannot be known now."""
        found = self._look()
        if found is None:
            return None
        self.see(found)
        return self._number

    def see(self, version: int) -> None:
        """Note that there is this version."""
        with self._lock:
            self._number = max(self._number, version)


def note_changes(session: Session, _context: Any) -> None:
    """Remember that a flush has changed what selections are made of; a listener of sessions."""
    touched = chain(session.new, session.dirty, session.deleted)
    if any(isinstance(row, OF_SELECTIONS) for row in touched):
        session.info["selections_changed"] = True


def note_statement(state: ORMExecuteState) -> None:
    """Remember that a statement has changed what selections are made of; a listener of sessions."""
    if not (state.is_update or state.is_delete or state.is_insert):
        return
    mapper = state.bind_mapper
    if mapper is None or not issubclass(mapper.class_, OF_SELECTIONS):
        return
    if not state.execution_options.get(KEEPS_SELECTIONS):
        state.session.info["selections_changed"] = True


def raise_if_changed(session: Session) -> int | None:
    """Raise the version if the transaction has changed anything; return the new one, or None.

    Call this last: from here on, other such transactions wait for the commit.
    """
    if not session.info.pop("selections_changed", False):
        return None
    row = SelectionVersion
    higher = update(row).values(version=row.version + 1).returning(row.version)
    version = session.execute(higher).scalar_one()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, str(version))))
    return version


def read(session: Session) -> int:
    """Return the version, as the session sees it."""
    return session.execute(select(SelectionVersion.version)).scalar_one()
