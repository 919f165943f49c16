"""The processes of the systems that the service is compared with."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.load.cells import FRONT, LITSERVE, PLAIN
from benchmarks.load.environments import NotMade, interpreter, surroundings
from benchmarks.load.sending import ROOT

MODULES = {
    FRONT: "benchmarks.load.bare_front",
    PLAIN: "benchmarks.load.plain_server",
    LITSERVE: "benchmarks.load.litserve_server",
}
ENVIRONMENTS = {PLAIN: "plain", LITSERVE: "litserve"}  # the bare front needs what the service needs
PORT = "PORT"  # in a system's arguments: that which it is given
START_SECONDS, END_SECONDS = 180, 10


class Server:
    """One of these systems with one model, in a process group of its own while the block runs.

    It is stopped except in its turns: LitServe polls for work that is not there, which would take a
    third of a core from every other system.

    Raises:
        NotMade: it cannot be installed here, or does not start.
    """

    def __init__(
        self, system: str, arguments: list[str], threads: int, log: Path, image: str
    ) -> None:
        port = str(_free_port())
        self.url = f"http://127.0.0.1:{port}"
        made = ENVIRONMENTS.get(system)
        python = interpreter(made) if made else sys.executable
        given = [port if each == PORT else each for each in arguments]
        self._command = [python, "-m", MODULES[system], *given]
        self._threads, self._log, self._image = threads, log, Path(image)

    def __enter__(self) -> "Server":
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=surroundings(self._threads),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        os.killpg(self.pid, signal.SIGSTOP)
        return self

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let the system go on in the block."""
        os.killpg(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
                self._process.wait(0.0 if number == signal.SIGCONT else END_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait(self) -> None:
        """Wait until it answers an image."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                body = self._image.read_bytes()
                with httpx.Client(trust_env=False, timeout=30) as client:
                    headers = {"Content-Type": "application/octet-stream"}
                    answer = client.post(f"{self.url}/predict", content=body, headers=headers)
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise NotMade(f"{self._command[2]} did not start:\n{self._log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
