"""Connections to Postgres that wait for a limited time, even for a server that is frozen.

The server ends a statement or a wait for a lock that takes too long, and the connection is kept. A
server that does not even do that is gone or frozen: the connection is closed on this side, as the
system's own time-outs do not see a frozen process.
"""

from typing import Any, Self

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError

from app.database import row_checksums
from app.database.sql_engines import create_engine
from app.settings import Settings

CONNECT_SECONDS = (
    3.0  # to a server that does not answer, and for a sign of life; the URL may differ
)
SERVER_SECONDS = 1.0  # for the server to end a statement that takes too long
INTERVAL_SECONDS = 0.1  # between two looks for a signal, as in psycopg
# Of libpq: a peer that the network has lost is noticed, whichever side is waiting.
KEEPALIVE = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class LimitedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed when the server does not answer within `patience` seconds."""

    patience: float | None = None  # None: no limit

    def wait(
        self, gen: Any, interval: float = INTERVAL_SECONDS, timeout: float | None = None
    ) -> Any:
        """Wait as psycopg does, for at most `patience` seconds if no other limit is given.

        Raises:
            OperationalError: the server did not answer; the connection is closed.
        """
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server did not answer within {self.patience:g} s"
            ) from None

    def limit(self, seconds: float) -> Self:
        """Have the server end what takes longer than `seconds`: twice as long for a statement."""
        lock, statement = int(1000 * seconds), int(2000 * seconds)
        self.patience = CONNECT_SECONDS
        self.execute(f"SET lock_timeout = {lock}; SET statement_timeout = {statement}")
        self.commit()  # a rollback would undo it
        self.patience = 2 * seconds + SERVER_SECONDS
        return self

    def answers(self) -> bool:
        """Return whether the server gives a sign of life."""
        patience, self.patience = self.patience, CONNECT_SECONDS
        try:
            self.autocommit = True
            self.execute(";")
            self.autocommit = False
        except psycopg.Error:
            return False
        finally:
            self.patience = patience
        return True


def open_postgres(settings: Settings, *, limited: bool) -> Engine:
    """Open an engine; unless it is `limited`, its statements may take as long as they like."""
    url = make_url(settings.sql_url)
    defaults = KEEPALIVE | {"connect_timeout": f"{CONNECT_SECONDS:g}"}
    missing = {name: value for name, value in defaults.items() if name not in url.query}
    seconds = settings.database_timeout_seconds
    engine = create_engine(
        url.update_query_dict(missing),
        pool_timeout=seconds,
        json_deserializer=row_checksums.read_json,
    )

    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> LimitedConnection:
        made = LimitedConnection.connect(*arguments, **named)
        return made.limit(seconds) if limited else made

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", _check)
    return engine


def _check(connection: LimitedConnection, _record: Any, _proxy: Any) -> None:
    if not connection.answers():
        raise InvalidatePoolError("the server gives no sign of life")
