"""The SQL database: engine, sessions and their one transaction per request or task."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    Connection,
    CursorResult,
    Delete,
    Engine,
    Update,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.orm import Session, sessionmaker

from app.settings import Settings

CONNECT_SECONDS = 5  # to a server that does not answer; the URL may say otherwise


def open_engine(settings: Settings) -> Engine:
    """The database's engine; SQLite in WAL mode, with foreign keys and 30 s to wait for writers."""
    if settings.sql_url.startswith("sqlite"):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        engine = create_engine(settings.sql_url, connect_args={"timeout": 30})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    url = make_url(settings.sql_url)
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return create_engine(url, pool_pre_ping=True)


def _prepare_sqlite(connection, _record) -> None:
    connection.isolation_level = None  # the driver issues no BEGIN of its own
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another one
    # wrote in between; an immediate one waits its turn.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


def session_factory(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after the commit; read-only ones wait for no writer."""
    if read_only:
        engine = engine.execution_options(sqlite_begin="DEFERRED")
    return sessionmaker(engine, expire_on_commit=False)


def affected(session: Session, statement: Update | Delete) -> int:
    """Run the statement; how many rows it changed or deleted."""
    done = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(done, CursorResult)
    return done.rowcount


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """One session, committed at the end of the block, rolled back on an error."""
    with sessions.begin() as session:
        yield session
