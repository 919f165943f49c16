"""The watch for changes of selections by other processes, on Postgres.

    with known_version(settings) as known, listening(settings, known, on_change):
        known.latest()

The server tells this process soon after each commit. If that is lost, the lease's looks find it
out, as every transaction does.
"""

import logging
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import psycopg
from sqlalchemy import make_url

from app.database.postgres_connections import CONNECT_SECONDS, KEEPALIVE
from app.database.selection_version import CHANNEL, READ, KnownVersion
from app.settings import Settings

RETRY_SECONDS = 1.0  # between two tries to listen

log = logging.getLogger(__name__)


@contextmanager
def listening(
    settings: Settings, known: KnownVersion, on_change: Callable[[], object]
) -> Iterator[None]:
    """Have Postgres tell of changes during the block, and call `on_change` then."""
    if settings.sql_url.startswith("sqlite"):
        yield
        return
    listener = Listener(settings, known, on_change)
    listener.start()
    try:
        yield
    finally:
        listener.stop()


class Listener:
    """A thread that hears from Postgres of every change."""

    def __init__(
        self, settings: Settings, known: KnownVersion, on_change: Callable[[], object]
    ) -> None:
        url = make_url(settings.sql_url).set(drivername="postgresql")
        defaults = KEEPALIVE | {"connect_timeout": f"{CONNECT_SECONDS:g}"}
        missing = {name: value for name, value in defaults.items() if name not in url.query}
        self._url = url.update_query_dict(missing).render_as_string(hide_password=False)
        self._known, self._on_change = known, on_change
        self._end, self._ended = socket.socketpair()  # one end is closed to end the thread
        self._thread = Thread(target=self._run, name="selection-watch", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.close()
        self._thread.join(2 * CONNECT_SECONDS)
        self._ended.close()

    def _run(self) -> None:
        while not self._is_over(0):
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._listen(connection)
            except (psycopg.Error, OSError) as error:
                log.debug("not listening for changes: %s", error)
                if self._is_over(RETRY_SECONDS):
                    return

    def _is_over(self, seconds: float) -> bool:
        return bool(select.select([self._ended], [], [], seconds)[0])

    def _listen(self, connection: psycopg.Connection) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        row = connection.execute(READ).fetchone()  # there may have been changes before
        if row is not None:
            self._known.see(row[0])
        line = connection.fileno(), self._ended.fileno()
        while line[1] not in select.select(line, [], [])[0]:
            for notice in connection.notifies(timeout=0):
                self._known.see(int(notice.payload))
            self._on_change()
