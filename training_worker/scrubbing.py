"""The scrub in the background: a thread of the worker that reads all files at a bounded rate.

Of all workers one reads at a time, and another one goes on where it ended or died.
"""

import logging
import threading
from time import monotonic

from app.database import outages, row_damage
from app.database.sessions import open_engine, session_factory, transaction
from app.files.blobs import LocalBlobs
from app.files.paced_files import Pace
from app.settings import Settings
from app.store import scrub_turns
from app.store.scrub import FolderAway, scrub

LOOK_SECONDS = 60.0  # the longest wait between two looks at whether a pass is due
KEEP_SECONDS = 10.0  # between two notes of how far it has come, which also keep the turn
NAMED = 20  # damaged rows in one line of the log

log = logging.getLogger(__name__)


class Ended(Exception):
    """The worker ends, or another one has taken over."""


class Scrubbing:
    """A thread that scrubs when it is time, until it is stopped."""

    def __init__(self, settings: Settings, executor_id: str) -> None:
        self.settings, self.executor_id = settings, executor_id
        self.engine = open_engine(settings)
        self.sessions = session_factory(self.engine)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self._position, self._kept_at = scrub_turns.BEGINNING, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrubbing", daemon=True)

    def start(self) -> None:
        """Begin, if the settings want it."""
        if self.settings.scrub_bytes_per_second > 0:
            self._thread.start()

    def stop(self) -> None:
        """End the reading, and let another worker go on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self.engine.dispose()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._take_turn()
            except Ended:
                log.debug("the scrub goes on elsewhere, or later")
            except FolderAway as away:
                log.warning("nothing was scrubbed: %s", away)
            except Exception as error:  # a database or a disk that is away comes back
                outages.log_failure(log, error, "the scrub was interrupted, and is tried again")
            self._stop.wait(min(LOOK_SECONDS, self.settings.scrub_period_seconds))

    def _take_turn(self) -> None:
        """Read all files from where the last turn ended, if a pass is under way or due."""
        period = self.settings.scrub_period_seconds
        with transaction(self.sessions) as session:
            position = scrub_turns.take(session, self.executor_id, period=period)
        if position is None:
            return
        self._position, self._kept_at = position, monotonic()
        if position == scrub_turns.BEGINNING:
            self._check_rows()
        pace = Pace(self.settings.scrub_bytes_per_second, self._rest)
        try:
            for read in scrub(self.sessions, self.blobs, pace, after=position):
                self._position = read.position
                self._rest(0.0)
            with transaction(self.sessions) as session:
                scrub_turns.finish(session, self.executor_id)
        finally:
            with transaction(self.sessions) as session:
                scrub_turns.leave(session, self.executor_id)

    def _check_rows(self) -> None:
        found = row_damage.find(self.sessions)
        with transaction(self.sessions) as session:
            is_news = scrub_turns.note_rows(session, self.executor_id, len(found))
        if found and is_news:
            some, remedy = ", ".join(found[:NAMED]), row_damage.HOW_TO_MEND
            log.error("%d damaged in the database: %s: %s", len(found), some, remedy)

    def _rest(self, seconds: float) -> None:
        """Wait; note now and then how far the reading has come.

        Raises:
            Ended: it must not go on.
        """
        if self._stop.wait(seconds):
            self._keep()
            raise Ended
        if monotonic() - self._kept_at > KEEP_SECONDS:
            self._kept_at = monotonic()
            if not self._keep():
                raise Ended

    def _keep(self) -> bool:
        with transaction(self.sessions) as session:
            return scrub_turns.keep(session, self.executor_id, self._position)
