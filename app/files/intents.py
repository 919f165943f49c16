"""Intents: keys of blobs that no row names, written down before the blob is written or given up.

    with intents.store(sessions, blobs, path, key) as intent:    first the intent, then the blob
        with transaction(sessions) as session:
            …                                                    the row that names the blob
            intent.settle(session)                               the intent goes as the row comes

A process that dies in between leaves its intent: the proof by which app.files.sweep may remove the
blob. The sweep first marks the intent as given up, and then nothing can settle it any more.
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import Unsettled, affected, on_commit, transaction
from app.database.tables import BlobIntent
from app.errors import NotReady
from app.files.blobs import LocalBlobs

log = logging.getLogger(__name__)


class Intent:
    """The intent to have a row name one blob; as a context, it removes the blob if none does."""

    def __init__(self, sessions: sessionmaker[Session], blobs: LocalBlobs, key: str) -> None:
        self.key, self._sessions, self._blobs = key, sessions, blobs
        self._settled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Unsettled):  # else a row may name the blob in a moment
            self.withdraw()

    def settle(self, session: Session) -> None:
        """Drop the intent in the transaction of the row that names the blob.

        Raises:
            NotReady: `storing_overtaken` if a sweep has given the blob up in the meantime.
        """
        mine = delete(BlobIntent).where(BlobIntent.key == self.key, ~BlobIntent.given_up)
        if affected(session, mine) != 1:
            raise NotReady(
                "storing_overtaken",
                f"the file {self.key} waited so long for its row that it was given up: try again",
            )
        on_commit(session, self.note_settled)

    def note_settled(self) -> None:
        """Leave the blob in place from now on: a row names it."""
        self._settled = True

    def withdraw(self) -> None:
        """Remove the blob, then the intent; do nothing if it is settled."""
        if self._settled:
            return
        try:
            self._blobs.delete(self.key)
            with transaction(self._sessions) as session:
                session.execute(delete(BlobIntent).where(BlobIntent.key == self.key))
        except (OSError, SQLAlchemyError) as error:  # the intent stays, and the next sweep tries
            log.warning("the file %s could not be withdrawn yet: %s", self.key, error)


def store(sessions: sessionmaker[Session], blobs: LocalBlobs, path: Path, key: str) -> Intent:
    """Write the intent down and move the finished file under the key; leave neither on an error."""
    intent = Intent(sessions, blobs, key)
    with transaction(sessions) as session:
        session.merge(BlobIntent(key=key))
    try:
        blobs.put(path, key)
    except BaseException:
        intent.withdraw()
        raise
    return intent


def give_up(session: Session, blobs: LocalBlobs, key: str) -> None:
    """Remove a blob with the transaction in which its row stops to name it."""

    def remove() -> None:
        try:
            blobs.delete(key)
        except OSError as error:  # the row has gone; the intent lets the next sweep try
            log.warning("the file %s could not be removed yet: %s", key, error)

    session.merge(BlobIntent(key=key, given_up=True))
    on_commit(session, remove)
