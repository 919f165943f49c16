"""The end of a worker process, within a bound, whatever its threads wait for."""

import logging
import os
import threading
from time import sleep

PARENT_SECONDS = 0.5  # between two checks that the parent lives
END_SECONDS = 8.0  # from the request to end; the API kills its worker after ten

log = logging.getLogger(__name__)


class Ending:
    """A request to end; some seconds after it the process is gone, cleanly or not.

    The job engine's threads wait for a database that is away, and would keep the process.
    """

    def __init__(self, parent: int | None, seconds: float | None = None) -> None:
        self._requested, self._parent = threading.Event(), parent
        self._seconds = END_SECONDS if seconds is None else seconds
        threading.Thread(target=self._watch, name="ending", daemon=True).start()

    def request(self) -> None:
        """Ask the process to end; called from a signal handler."""
        self._requested.set()

    def wait(self) -> None:
        """Wait until an end is requested."""
        self._requested.wait()

    def _watch(self) -> None:
        while not self._requested.wait(PARENT_SECONDS):
            if self._parent is not None and os.getppid() != self._parent:
                log.warning("the parent process is gone, so this worker ends too")
                self._requested.set()
        sleep(self._seconds)
        log.warning("the worker could not end cleanly within %g s, and ends now", self._seconds)
        os._exit(1)  # the kernel kills the trainer, another worker takes the job
