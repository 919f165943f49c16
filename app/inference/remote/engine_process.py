"""The engine's process: started, and started again whenever it ends, at one address."""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Any

from app.inference.remote.wire import error_of
from app.server.launcher import command
from app.settings import SECRET, Settings
from app.settings.environment import environment_of_engine

MODULE = "app.inference.remote.server"
RESTART_SECONDS = (0.5, 30.0)  # pause before the process is started again: first, longest
MAX_PARENT = 60  # characters of the path that a folder with a socket is made in
NO_ENGINE = {
    "kind": "EngineFault",
    "text": "the engine process did not start: its lines above say why, mostly memory",
}

log = logging.getLogger(__name__)


def _make_folder() -> Path:
    """Make a folder that is closed to other users; a socket's path has a short bound."""
    parent = tempfile.gettempdir()
    where = parent if len(parent) <= MAX_PARENT else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="tangent-engine-", dir=where))


class EngineProcess:
    """Keeps one engine running for those who call it at its address."""

    def __init__(self, settings: Settings) -> None:
        """Start the process and wait until it can answer.

        Raises:
            TangentError: the engine cannot compute on the device of the settings.
            EngineFault: the process did not start.
        """
        self._settings, self._folder = settings, _make_folder()
        self.address = f"ipc://{self._folder}/calls"
        self._changed = Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered, self._is_closed = False, False
        self._fault: dict[str, Any] | None = None  # why the first process could not start
        self._keeper = Thread(target=self._keep, name="engine-keeper", daemon=True)
        self._keeper.start()
        with self._changed:
            self._changed.wait_for(lambda: self._has_answered or self._fault)
        if self._fault is not None:
            self.close()
            raise error_of(self._fault)

    def _keep(self) -> None:
        pause = RESTART_SECONDS[0]
        while not self._is_closed:
            began = monotonic()
            try:
                end = f"ended with status {self._run()}"
            except OSError as error:  # too many processes, too little memory: that passes
                end = f"could not be started ({error})"
                self._note_opening({"error": NO_ENGINE | {"text": f"the engine process {end}"}})
            if self._is_closed or self._fault is not None:
                return
            log.error("the engine process %s and is started again", end)
            if monotonic() - began > RESTART_SECONDS[1]:
                pause = RESTART_SECONDS[0]
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, pause)
            pause = min(2 * pause, RESTART_SECONDS[1])

    def _run(self) -> int:
        """Run one process to its end; return its status.

        Raises:
            OSError: the system starts no process now.
        """
        process = subprocess.Popen(
            command(MODULE, self.address, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_of_engine(self._settings.data_dir.absolute() / "compiled"),
        )
        with self._changed:
            self._process = process
            if self._is_closed:
                process.kill()
        assert process.stdout
        with process.stdout as out:
            self._tell(process)
            line = out.readline()
            self._note_opening(json.loads(line) if line else {})
            return process.wait()

    def _tell(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin
        told = self._settings.model_dump(mode="json", exclude=set(SECRET), exclude_none=True)
        try:
            with process.stdin as pipe:
                pipe.write(json.dumps(told).encode())
        except BrokenPipeError:
            pass  # it has ended, as its silence will tell

    def _note_opening(self, about: dict[str, Any]) -> None:
        """Note that the process can answer, or why the first one of all cannot."""
        with self._changed:
            if "device" in about:
                self._has_answered = True
            elif not self._has_answered:
                self._fault = about.get("error", NO_ENGINE)
            self._changed.notify_all()

    def close(self) -> None:
        """End the process, and remove its folder."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if self._process is not None:
                self._process.kill()
        self._keeper.join()
        shutil.rmtree(self._folder, ignore_errors=True)
