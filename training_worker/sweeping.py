"""The sweep in the background, for files that a killed worker wrote and no row names.

It may take longer than a worker may be silent, so it has a thread of its own.
"""

import logging
import threading
from time import monotonic

from app.database import outages
from app.database.sessions import open_engine, session_factory
from app.files.blobs import LocalBlobs
from app.files.sweep import sweep
from app.settings import Settings

SWEEP_SECONDS = 3600.0  # between the begins of two
END_SECONDS = 5.0  # for one to end; one that is broken off harms nothing, as by a kill

log = logging.getLogger(__name__)


class Sweeping:
    """A thread for each sweep; one at a time."""

    def __init__(self, settings: Settings) -> None:
        self.engine = open_engine(settings)
        self.sessions = session_factory(self.engine)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self._thread: threading.Thread | None = None
        self._began = -SWEEP_SECONDS

    def begin_if_due(self) -> None:
        """Begin a sweep if it is time and the last one has ended; wait for nothing."""
        under_way = self._thread is not None and self._thread.is_alive()
        if under_way or monotonic() - self._began <= SWEEP_SECONDS:
            return
        self._began = monotonic()
        self._thread = threading.Thread(target=self._run, name="sweeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait a moment for the end of a sweep."""
        if self._thread is not None:
            self._thread.join(timeout=END_SECONDS)
        self.engine.dispose()

    def _run(self) -> None:
        try:
            sweep(self.sessions, self.blobs)
        except Exception as error:  # a database or a disk that is away comes back
            outages.log_failure(
                log, error, "the sweep was interrupted, and is tried again in an hour"
            )
