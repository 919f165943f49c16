"""The training worker that the API starts beside itself and keeps running."""

import logging
import os
import subprocess
import sys
import threading
from time import monotonic

from app.settings import Settings

GRACE_SECONDS = 10  # for the worker to hand its job back
RESTART_SECONDS = (1.0, 60.0)  # pause before a worker is started again: first, longest

log = logging.getLogger(__name__)


class EmbeddedWorker:
    """A worker as a child process: started again if it crashes, ended when the API ends."""

    def __init__(self, settings: Settings) -> None:
        self._command = [sys.executable, "-m", "app.cli", "worker"]
        self._command += ["--data-dir", str(settings.data_dir), "--parent", str(os.getpid())]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)
        self.fault: str | None = None  # why no worker runs; None while one does

    def start(self) -> None:
        """Start the worker, and keep one running."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the worker to end; does not wait."""
        self._stopped.set()

    def stop(self) -> None:
        """End the worker, by force if it takes too long."""
        self._stopped.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = RESTART_SECONDS[0]
        while not self._stopped.is_set():
            began = monotonic()
            fault = self._run(pause)
            if self._stopped.is_set() or fault is None:
                return
            if monotonic() - began > RESTART_SECONDS[1]:
                pause = RESTART_SECONDS[0]
            self.fault = fault
            self._stopped.wait(pause)
            pause = min(2 * pause, RESTART_SECONDS[1])

    def _run(self, pause: float) -> str | None:
        """Run one worker to its end; return why another one is needed, after the pause."""
        try:
            process = subprocess.Popen(self._command)
        except (OSError, MemoryError, subprocess.SubprocessError) as error:
            # Too many processes, too little memory: that passes, and so does a file's replacement.
            log.warning("the worker could not be started: %s", error)
            return f"the worker could not be started ({error})"
        self.fault = None
        status = self._wait(process)
        if status == 0:
            self.fault = "the worker was asked to end"
            return None
        if not self._stopped.is_set():
            log.warning(
                "the worker ended with status %d; starting another in %.0f s", status, pause
            )
        return f"the worker ended with status {status}"

    def _wait(self, process: subprocess.Popen) -> int:
        """Wait until the worker ends by itself or by `stop`; return its exit status."""
        while process.poll() is None and not self._stopped.wait(0.2):
            continue
        process.terminate()  # does nothing if the process has ended
        try:
            return process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
