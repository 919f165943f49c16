"""The SQL database: engine, sessions, their one transaction per request or task, the write lock.

    hold_write_lock(session)    first of all in the transaction, before any row's lock

A deletion must find everything that was made from the deleted data, and its receipt must say
exactly which components remain. So every transaction that publishes a component, derives one,
changes a composition, stores an evaluation or fits weights holds the write lock until it ends: a
deletion comes wholly before such a change or wholly after it. As the lock comes before every
row's, no two transactions can wait for each other.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Delete,
    Engine,
    Update,
    event,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import changes, row_checksums
from app.database.postgres_connections import open_postgres
from app.database.sql_engines import create_engine
from app.settings import Settings

PRAGMAS = (
    *("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL", "secure_delete=ON"),
    "trusted_schema=ON",  # the triggers of row_checksums call a function of ours
)
DAMAGED_SCHEMA = "malformed database schema, with text that is not UTF-8"
VACUUM_BYTES = 256 * 2**20  # rewriting a larger SQLite file takes seconds
FOLD_MS = 1000  # for the same, where another process folds the log after this one
WAIT_MS = 5000  # for other connections to end their transactions
PATIENCE = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)  # pauses before asking how a commit ended
SETTLE_SECONDS = 5.0  # after which no further question is asked
WRITE_LOCK = 0x72637074  # "rcpt": the number of our advisory lock on Postgres

log = logging.getLogger(__name__)


class Unsettled(OperationalError):
    """A commit that failed and may have happened: the database does not say which."""


def open_engine(settings: Settings, *, limited: bool = True) -> Engine:
    """Open the engine; SQLite in WAL mode, with foreign keys.

    A wait for the database ends with an error after the settings' time-out. Without `limited`, as a
    migration needs it, the statements on Postgres may take as long as they like.
    """
    if not settings.sql_url.startswith("sqlite"):
        return open_postgres(settings, limited=limited)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    seconds = settings.database_timeout_seconds
    engine = create_engine(
        settings.sql_url,
        connect_args={"timeout": seconds},
        pool_timeout=seconds,
        json_deserializer=row_checksums.read_json,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver issues no BEGIN of its own
    try:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError as error:  # the message repeats what is damaged
        raise sqlite3.DatabaseError(DAMAGED_SCHEMA) from error
    checksum = row_checksums.of_values
    connection.create_function(row_checksums.FUNCTION, -1, checksum, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another one
    # wrote in between; an immediate one waits its turn.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


def session_factory(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Return a factory of sessions whose objects stay readable after the commit.

    Read-only sessions wait for no writer.
    """
    if read_only:
        engine = engine.execution_options(sqlite_begin="DEFERRED")
    made = sessionmaker(engine, expire_on_commit=False, info={"read_only": read_only})
    event.listen(made, "after_flush", changes.note_flush)
    event.listen(made, "do_orm_execute", changes.note_statement)
    return made


def with_info(sessions: sessionmaker[Session], **info: Any) -> sessionmaker[Session]:
    """Return the factory of the same sessions with more `info`: a request's caller and act."""
    made = object.__new__(type(sessions))  # every request has two: `copy` takes five times as long
    made.__dict__ |= sessions.__dict__
    made.kw = sessions.kw | {"info": sessions.kw["info"] | info}
    return made


def hold_write_lock(session: Session) -> None:
    """Hold the write lock until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
    # On SQLite a writing transaction is alone anyway, see _begin_sqlite.


@contextmanager
def frozen_view(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Yield a session to read with, which sees nothing that is committed after its first query."""
    with sessions() as session:
        if session.get_bind().dialect.name == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        else:
            options = {"sqlite_begin": "DEFERRED"}
        session.connection(execution_options=options)
        yield session


def affected(
    session: Session, statement: Update | Delete, *, keeps_selections: bool = False
) -> int:
    """Run the statement; return how many rows it changed or deleted.

    With `keeps_selections` it changes nothing that selections are made of, as a progress.
    """
    if isinstance(statement, Update):
        statement = row_checksums.only_intact(statement)
    options = {"synchronize_session": False, changes.KEEPS_SELECTIONS: keeps_selections}
    done = session.execute(statement, execution_options=options)
    assert isinstance(done, CursorResult)
    if done.rowcount:
        changes.note_rows(session)
    return done.rowcount


def on_commit(session: Session, act: Callable[[], Any]) -> None:
    """Call `act` once the session's `transaction` has certainly been committed."""
    session.info.setdefault(True, []).append(act)


def on_rollback(session: Session, act: Callable[[], Any]) -> None:
    """Call `act` once the session's `transaction` has certainly come to nothing."""
    session.info.setdefault(False, []).append(act)


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Yield a session; commit it at the end of the block, roll it back on an error.

    A commit whose answer was lost on the way is one that has happened, and no error.

    Raises:
        Unsettled: if the commit failed and the database does not say whether it happened.
    """
    happened: bool | None = False
    with sessions() as session:
        try:
            with session.begin():
                yield session
                if (told := changes.conclude(session)) is not None:
                    on_commit(session, told)
                number = _number(session)
                session.expunge_all()  # a failing commit would expire what the caller holds
                happened = None
            happened = True
        except BaseException as error:
            session.close()
            if happened is None:
                happened = _has_happened(sessions, number)
            if happened is None and isinstance(error, Exception):
                raise Unsettled("COMMIT", {}, error) from error
            if not (happened and isinstance(error, DBAPIError)):
                raise
            log.warning("a commit happened, although the database failed to say so: %s", error)
        finally:
            for act in session.info.pop(happened, ()):
                act()


def _number(session: Session) -> int | None:
    """Return the number by which Postgres knows the transaction; None if it wrote nothing."""
    if session.info["read_only"] or session.get_bind().dialect.name != "postgresql":
        return None
    return session.scalar(select(func.txid_current_if_assigned()))


def _has_happened(sessions: sessionmaker[Session], number: int | None) -> bool | None:
    """Return whether the transaction was committed; None if nobody says.

    SQLite answers in this process, so a commit that failed there has not happened.
    """
    if number is None:
        return False
    end = time.monotonic() + SETTLE_SECONDS
    for pause in PATIENCE:
        if time.monotonic() + pause > end:
            break
        time.sleep(pause)
        try:
            with sessions() as session:
                status = session.scalar(select(func.txid_status(number)))
        except DBAPIError as error:
            log.warning("the database does not say how a commit ended: %s", error)
            continue
        if status in ("committed", "aborted"):
            return bool(status == "committed")
    return None


def fold_log(engine: Engine) -> None:
    """Fold SQLite's log into its file at a clean stop, so that the file alone is the database."""
    if engine.dialect.name != "sqlite":
        return
    engine.dispose()  # this process's own connections would keep the log in use
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={FOLD_MS}")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        log.warning("the SQLite log was not folded into the file: %s", error)
    finally:
        connection.invalidate()  # its busy_timeout is not the pool's
        connection.close()


def scrub(sessions: sessionmaker[Session]) -> None:
    """Overwrite what deleted rows left in SQLite's file and log; a server does that by itself."""
    engine = sessions.kw["bind"]
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()  # VACUUM works outside of transactions only
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={WAIT_MS}")
        if engine.url.database and Path(engine.url.database).stat().st_size <= VACUUM_BYTES:
            # secure_delete zeroes a deleted cell, but not the copies that moving it has left.
            cursor.execute("VACUUM")
        if cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            log.warning(
                "the SQLite log is in use and was not emptied; the next deletion tries again"
            )
    except sqlite3.OperationalError as error:
        log.warning("the SQLite file is in use and was not rewritten: %s", error)
    finally:
        connection.invalidate()  # its busy_timeout is not the pool's
        connection.close()
