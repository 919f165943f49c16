"""Sessions of browsers as the database has them, each kept in memory for a moment, as keys are."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from sqlalchemy.orm import Session, sessionmaker

from app.access import browser_sessions
from app.access.keys import hash_of
from app.access.short_memory import ShortMemory
from app.database.access_tables import BrowserSession
from app.database.columns import now
from app.database.sessions import transaction

KEPT_SECONDS = 2.0


@dataclass(frozen=True)
class Known:
    """A session as it was at a time, with the token of its cookie."""

    token: str
    key_id: str
    key_sha256: str
    expires_at: datetime

    @property
    def is_over(self) -> bool:
        """Return whether the session's time is over."""
        return self.expires_at <= now()


@dataclass(frozen=True)
class Looked:
    """The outcome of a look into the database: a session, or none."""

    session: Known | None


def _known(token: str, row: BrowserSession) -> Known:
    return Known(token, row.key_id, row.key_sha256, row.expires_at)


class KnownSessions:
    """The sessions of one database."""

    def __init__(
        self, reading: sessionmaker[Session], clock: Callable[[], float] = monotonic
    ) -> None:
        self._reading, self._memory = reading, ShortMemory[Looked](clock)

    def kept(self, token: str) -> Looked | None:
        """Return what is known without a look into the database; None if nothing is."""
        return self._memory.get(hash_of(token))

    def read(self, token: str) -> Looked:
        """Look into the database, and keep what was found."""
        until = self._memory.end_after(KEPT_SECONDS)  # from before the reading: it may take long
        with transaction(self._reading) as session:
            row = browser_sessions.find(session, token)
            looked = Looked(None if row is None else _known(token, row))
        self._memory.keep(hash_of(token), looked, until)
        return looked

    def forget(self) -> None:
        """Look again for every session: one was ended."""
        self._memory.forget()
