"""The version of all that selections are made of: every commit that changes any of it adds one.

    with known_version(settings) as known:
        known.latest()

A process that knows the version of what it has read knows whether it can use it again.
`transaction` raises the version together with the change, and tells the process of every version
that it meets: so nobody who has read something from a process is answered by it with what was there
before.

On SQLite every look asks the file itself, in microseconds: no commit of any process is missed. On
Postgres the change notifies whoever listens, see app.database.selection_watch.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Lock

from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from app.database.lease_tables import SelectionVersion
from app.settings import Settings

CHANNEL = "tangent_selection_version"
READ = "SELECT version FROM selection_version"

log = logging.getLogger(__name__)


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

    def read(self, session: Session) -> None:
        """Note the version that the session sees."""
        self.see(read(session))


def read(session: Session) -> int:
    """Return the version, as the session sees it."""
    return session.execute(select(SelectionVersion.version)).scalar_one()


@contextmanager
def known_version(settings: Settings) -> Iterator[KnownVersion]:
    """Yield the version that this process knows, which looks into the file if it is SQLite's."""
    if not settings.sql_url.startswith("sqlite"):
        yield KnownVersion()
        return
    with closing(SqliteFile(str(make_url(settings.sql_url).database))) as file:
        yield KnownVersion(file.version)


class SqliteFile:
    """A connection that only looks whether any other one has committed."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, Lock()
        self._connection: sqlite3.Connection | None = None
        self._seen, self._version = -1, 0

    def version(self) -> int | None:
        """Return the version; None if the file does not say."""
        with self._lock:
            try:
                return self._look()
            except sqlite3.Error as error:
                log.debug("the SQLite file does not say whether it has changed: %s", error)
                self._drop()
                return None

    def _look(self) -> int:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
        # All rows are fetched: a statement that is not at its end keeps its view of the file.
        ((seen,),) = self._connection.execute("PRAGMA data_version").fetchall()
        if seen != self._seen:  # some commit of another connection
            ((self._version,),) = self._connection.execute(READ).fetchall()
            self._seen = seen
        return self._version

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen = None, -1

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()
