"""Copies of all rows from one database to another, of either kind, and their hashes.

    copy_checked(source, target)    sessions; table by table, referred tables first
    digests(session)                {table: number of rows and one hash over them}

Processes, intents, sessions of browsers, the scrub's progress and the database's own id belong to
the running store and stay behind. Of the job engine's records nothing is copied: `queue` queues
every unfinished training again.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from app.database import row_checksums
from app.database.tables import (
    AnsweringProcess,
    Base,
    BatchPrediction,
    BlobIntent,
    BrowserSession,
    Component,
    DatabaseIdentity,
    Dataset,
    Receipt,
    Scrub,
    SelectionVersion,
    Worker,
    stamp,
)
from app.store.components import ACTIVE

AT_ONCE = 1000
OF_THE_STORE = (
    *(AnsweringProcess, BlobIntent, BrowserSession, DatabaseIdentity, Scrub, SelectionVersion),
    Worker,
)
LEFT_BEHIND = {each.__tablename__ for each in OF_THE_STORE}
TABLES = [table for table in Base.metadata.sorted_tables if table.name not in LEFT_BEHIND]


class Queue(Protocol):
    """The part of app.database.jobs.Jobs that queues a job."""

    def enqueue(self, session: Session, job_id: str) -> None: ...


class Differing(Exception):
    """A copy that is not what it was made from; the message names the tables."""


class Digest(NamedTuple):
    """The number of a table's rows, and the sum of their SHA-256: the same in any order."""

    rows: int
    sha256: str  # modulo 2**256, in hex


class Head(NamedTuple):
    """The number and hash of a ledger's last receipt; 0 and 64 zeros before the first deletion."""

    number: int
    hash: str


def copy(source: Session, target: Session) -> None:
    """Add the source's rows to the target, which has none."""
    for table in TABLES:
        rows = source.execute(_ordered(table), execution_options={"yield_per": AT_ONCE})
        try:
            for some in rows.mappings().partitions():
                target.execute(insert(table), [dict(row) for row in some])
        except (DataError, IntegrityError, ProgrammingError) as error:
            raise Differing(f"{table.name} cannot be copied: {error.orig}") from error
        row_checksums.mark(target, table, damaged(source, table))
        _advance(target, table)


def copy_checked(source: Session, target: Session) -> dict[str, Digest]:
    """Copy the rows, read both sides, and return the digests of the tables.

    Raises:
        Differing: the copy is not equal to the byte, or its ledger has another head.
    """
    copy(source, target)
    wanted, found = digests(source), digests(target)
    names = [name for name in wanted if wanted[name] != found[name]]
    if names or head(source) != head(target):
        raise Differing(f"the copy differs in {', '.join(names) or 'the head of the ledger'}")
    return found


def queue(session: Session, jobs: Queue) -> int:
    """Queue every component that was queued or training; return their number."""
    rows = list(session.scalars(select(Component).where(Component.status.in_(ACTIVE))))
    for row in rows:
        jobs.enqueue(session, row.job_id)
    return len(rows)


def digests(session: Session) -> dict[str, Digest]:
    """Return the digest of every copied table as the session sees it."""
    return {table.name: _digest(session, table) for table in TABLES}


def is_empty(session: Session) -> bool:
    """Return whether none of the copied tables has a row."""
    return all(session.execute(select(table).limit(1)).first() is None for table in TABLES)


def head(session: Session) -> Head:
    """Return the head of the ledger."""
    last = select(Receipt.number, Receipt.hash).order_by(Receipt.number.desc()).limit(1)
    row = session.execute(last).first()
    return Head(0, "0" * 64) if row is None else Head(*row)


def blob_keys(session: Session) -> dict[str, str | None]:
    """Return the key of every blob that a row names, with the SHA-256 that the row knows."""
    packs = session.scalars(select(Dataset.pack_key).order_by(Dataset.id))
    found: dict[str, str | None] = dict.fromkeys(packs, None)
    batch = BatchPrediction
    for key, sha256, id_ in (
        (Component.blob_key, Component.sha256, Component.id),
        (batch.jsonl_key, batch.jsonl_sha256, batch.id),
        (batch.csv_key, batch.csv_sha256, batch.id),
    ):
        named = session.execute(select(key, sha256).where(key.is_not(None)).order_by(id_))
        found |= {str(row[0]): row[1] for row in named}
    archives = select(batch.archive_key).where(batch.archive_key.is_not(None)).order_by(batch.id)
    return found | {str(key): None for key in session.scalars(archives)}


def damaged(session: Session, table: Table) -> list[tuple[Any, ...]]:
    """Return the keys of the table's damaged rows, which a copy keeps as they are."""
    if row_checksums.COLUMN not in table.columns:
        return []
    return list(row_checksums.damaged_keys(session, table))


def damaged_names(session: Session) -> list[str]:
    """Return the names of all damaged rows for people."""
    return [row_checksums.named(table, key) for table in TABLES for key in damaged(session, table)]


def _columns(table: Table) -> list[Any]:
    """Return the columns to copy and to compare; each database makes its own checksums."""
    return [each for each in table.columns if each.name != row_checksums.COLUMN]


def _ordered(table: Table) -> Any:
    return select(*_columns(table)).order_by(*table.primary_key.columns)


def _advance(session: Session, table: Table) -> None:
    """Let Postgres count on after the copied numbers, as SQLite does by itself."""
    column = table.autoincrement_column
    if column is None or session.get_bind().dialect.name != "postgresql":
        return
    name = text("SELECT pg_get_serial_sequence(:table, :column)")
    sequence = session.scalar(name, {"table": table.name, "column": column.name})
    last = session.scalar(select(func.max(column)))
    if sequence is not None and last is not None:
        session.execute(select(func.setval(sequence, last)))


def _digest(session: Session, table: Table) -> Digest:
    rows = session.execute(select(*_columns(table)), execution_options={"yield_per": AT_ONCE})
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(hashlib.sha256(_bytes(tuple(row))).digest(), "big")
    return Digest(count, f"{total % 2**256:064x}")


def _bytes(row: tuple[Any, ...]) -> bytes:
    # Members of JSON stay in their order: answers show them so.
    return json.dumps(list(_values(row)), ensure_ascii=True, separators=(",", ":")).encode()


def _values(row: tuple[Any, ...]) -> Iterator[Any]:
    for value in row:
        yield stamp(value) if isinstance(value, datetime) else value
