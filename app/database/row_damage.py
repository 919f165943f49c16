"""Damage of the database: rows that do not fit their checksums, and SQLite's structure."""

from collections.abc import Iterator

from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from app.database import row_checksums
from app.database.sessions import frozen_view
from app.database.tables import Base

HOW_TO_MEND = "stop the service, keep a copy, and restore a backup with the newer receipts"
MAX_FAULTS = 100  # of the structure, that are told

CHECKED = [each for each in Base.metadata.sorted_tables if row_checksums.COLUMN in each.columns]


def find(sessions: sessionmaker[Session]) -> list[str]:
    """Return what is damaged, by names for people; an empty list if nothing is."""
    with frozen_view(sessions) as session:
        found = list(_structure(session))
    for table in CHECKED:
        with frozen_view(sessions) as session:
            found += _rows(session, table)
    return found


def _structure(session: Session) -> Iterator[str]:
    """Yield the faults of SQLite's file: pages, and rows that an index has or lacks."""
    if session.get_bind().dialect.name != "sqlite":
        return
    try:
        lines = list(session.scalars(text(f"PRAGMA integrity_check({MAX_FAULTS})")))
    except (DBAPIError, UnicodeDecodeError) as error:
        lines = [str(error)]
    yield from (f"the structure of the SQLite file ({line})" for line in lines if line != "ok")


def _rows(session: Session, table: Table) -> list[str]:
    try:
        keys = list(row_checksums.damaged_keys(session, table))
    except (DBAPIError, UnicodeDecodeError) as error:
        return [f"the table {table.name}, which cannot be read ({error})"]
    return [row_checksums.named(table, key) for key in keys]
