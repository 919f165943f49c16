"""The keyring: keys as the database has them, each kept in memory for a moment.

A request whose key is kept costs no SQL statement. Another process's revocation is known here
after KEPT_SECONDS at the latest, this process's own at once.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.access import keys
from app.access.callers import Caller
from app.access.short_memory import ShortMemory
from app.database.access_tables import ApiKey
from app.database.columns import now
from app.database.sessions import transaction

log = logging.getLogger(__name__)

KEPT_SECONDS = 2.0
NO_KEY = ""  # the id under which a look for any key at all is kept


@dataclass
class Kept:
    """A key as it was at a time."""

    caller: Caller
    name: str
    sha256: str
    last_used_at: datetime | None


@dataclass(frozen=True)
class Found:
    """The key with a token's id, if there is one, and whether there is any key at all."""

    key: Kept | None
    any_key: bool


class Keyring:
    """The keys of one database."""

    def __init__(
        self,
        reading: sessionmaker[Session],
        sessions: sessionmaker[Session],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reading, self._sessions = reading, sessions
        self._memory = ShortMemory[Found](clock)  # by id
        self._notes = ThreadPoolExecutor(1, "key-use")  # no request waits for a writer

    def kept(self, token: str | None) -> Found | None:
        """Return what is known without a look into the database; None if nothing is."""
        return self.kept_by_id(_id_in(token))

    def read(self, token: str | None) -> Found:
        """Look into the database, and keep what was found."""
        return self.read_by_id(_id_in(token))

    def kept_by_id(self, key_id: str) -> Found | None:
        """As `kept`, of a key whose id is known; NO_KEY asks only whether there is any key."""
        return self._memory.get(key_id)

    def read_by_id(self, key_id: str) -> Found:
        """As `read`, of a key whose id is known."""
        until = self._memory.end_after(KEPT_SECONDS)  # from before the reading: it may take long
        with transaction(self._reading) as session:
            row = session.get(ApiKey, key_id) if key_id else None
            found = Found(_kept(row) if row else None, row is not None or keys.exist(session))
        self._memory.keep(key_id, found, until)
        return found

    def forget(self) -> None:
        """Look again for every key: one was made or revoked."""
        self._memory.forget()

    def note_use(self, key: Kept) -> None:
        """Have the time of the key's use stored, by another thread; do nothing within a minute."""
        used, time = key.last_used_at, now()
        if used is not None and time - used < timedelta(seconds=keys.USE_SECONDS):
            return
        key.last_used_at = time
        self._notes.submit(self._note, key.caller.id)

    def _note(self, key_id: str) -> None:
        try:
            with transaction(self._sessions) as session:
                keys.note_use(session, key_id)
        except SQLAlchemyError as error:
            log.warning("the use of %s could not be noted: %s", key_id, error)

    def close(self) -> None:
        """Wait for the last notes."""
        self._notes.shutdown()


def _id_in(token: str | None) -> str:
    return (token and keys.id_in(token)) or NO_KEY


def _kept(row: ApiKey) -> Kept:
    return Kept(Caller.of(row), row.name, row.sha256, row.last_used_at)
