"""The changes of a transaction: noted in one pass while it makes them, and told at its end.

The audit log gets an entry with the ids of what the transaction has made. If it has changed what
selections are made of, their version is raised, and the process is told of it: see
app.database.audit and app.database.selection_version.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import ORMExecuteState, Session

from app.database.audit import Act, entry, name_hash
from app.database.lease_tables import SelectionVersion
from app.database.selection_version import CHANNEL, KnownVersion
from app.database.tables import (
    ApiKey,
    BatchPrediction,
    BlobIntent,
    Component,
    ComponentParent,
    Composition,
    CompositionMember,
    Dataset,
    Evaluation,
    Receipt,
    Space,
)

NO_CHANGE = (BlobIntent,)  # the service's own notes
WITH_ID = (ApiKey, BatchPrediction, Component, Dataset, Evaluation, Receipt)
OF_SELECTIONS = (Component, ComponentParent, Composition, CompositionMember, Space)
KEEPS_SELECTIONS = "keeps_selections"  # an option of statements that change none, as of progress


def note_flush(session: Session, _context: Any) -> None:
    """Remember what a flush has changed, and the ids of new rows; a listener of sessions."""
    info, touched = session.info, list(chain(session.new, session.dirty, session.deleted))
    if any(isinstance(row, OF_SELECTIONS) for row in touched):
        info["selections_changed"] = True
    if "act" in info and not all(isinstance(row, NO_CHANGE) for row in touched):
        info["changed"] = True
        info.setdefault("made", []).extend(_ids(session.new))


def note_statement(state: ORMExecuteState) -> None:
    """Remember that a statement has changed what selections are made of; a listener of sessions."""
    if not (state.is_update or state.is_delete or state.is_insert):
        return
    mapper = state.bind_mapper
    if mapper is None or not issubclass(mapper.class_, OF_SELECTIONS):
        return
    if not state.execution_options.get(KEEPS_SELECTIONS):
        state.session.info["selections_changed"] = True


def note_rows(session: Session, *ids: str) -> None:
    """Remember that a statement past the session's objects has changed rows, with these ids."""
    session.info["changed"] = True
    session.info.setdefault("made", []).extend(ids)


def conclude(session: Session) -> Callable[[], None] | None:
    """Write down what the transaction has changed; return what to call once it is committed.

    Call this last: from here on, other transactions that change selections wait for the commit.
    """
    _record(session)
    session.flush()
    raised = _raise_version(session)
    known: KnownVersion | None = session.info.get("known_version")
    if known is None:
        return None
    if raised is None:
        known.read(session)
        return None
    return lambda: known.see(raised)


def _record(session: Session) -> None:
    """Add the entry for what the session's request has changed, if it has changed anything."""
    act: Act | None = session.info.get("act")
    if act is None or session.info["read_only"]:
        return
    session.flush()
    if session.info.get("changed"):
        session.add(entry(act, session.info.get("made", ())))


def _raise_version(session: Session) -> int | None:
    """Raise the version if the transaction has changed selections; return the new one, or None."""
    if not session.info.pop("selections_changed", False):
        return None
    row = SelectionVersion
    higher = update(row).values(version=row.version + 1).returning(row.version)
    version = session.execute(higher).scalar_one()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, str(version))))
    return version


def _ids(rows: Iterable[Any]) -> Iterable[str]:
    for row in rows:
        if isinstance(row, WITH_ID):
            yield row.id
        elif isinstance(row, Space):
            yield name_hash("space", row.name)
        elif isinstance(row, Composition):
            yield name_hash("composition", row.name)
