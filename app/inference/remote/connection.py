"""One engine process and the calls that it has to answer."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import zmq

from app.errors import NotReady
from app.inference.remote.wake_up import WakeUp
from app.inference.remote.wire import error_of, packed, unpacked
from app.settings import SECRET, Settings

MODULE = "app.inference.remote.server"
POLL_MILLISECONDS = 200  # between two looks at whether the process lives
RETRY_SECONDS = 2
MAX_PARENT = 60  # characters of the path that a folder with a socket is made in

log = logging.getLogger(__name__)


def lost() -> NotReady:
    """Return the problem of a call that no engine answers."""
    return NotReady(
        "engine_restarting",
        "the engine process has ended and is started again: send the request again",
        retry_after=RETRY_SECONDS,
    )


def _made_folder() -> Path:
    """Make a folder that is closed to other users; a socket's path has a short bound."""
    parent = tempfile.gettempdir()
    where = parent if len(parent) <= MAX_PARENT else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="tangent-engine-", dir=where))


class Connection:
    """A process, from its start to its end; it is not started again."""

    def __init__(self, settings: Settings) -> None:
        """Start the process; `listen` waits for it.

        Raises:
            OSError: the system starts no process now.
        """
        self._folder = _made_folder()
        self._address = f"ipc://{self._folder}/calls"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, self._address, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except OSError:
            self._folder.rmdir()
            raise
        self._tell(settings)
        self._lock = Lock()
        self._calls: dict[bytes, Future[Any]] = {}
        self._count, self._has_ended = 0, False
        self._outbox: SimpleQueue[list[Any]] = SimpleQueue()
        self._wake_up = WakeUp()

    def _tell(self, settings: Settings) -> None:
        assert self._process.stdin
        told = settings.model_dump(mode="json", exclude=set(SECRET), exclude_none=True)
        try:
            with self._process.stdin as pipe:
                pipe.write(json.dumps(told).encode())
        except BrokenPipeError:
            pass  # it has ended, which `opening` finds out

    @property
    def pid(self) -> int:
        return self._process.pid

    def opening(self) -> dict[str, Any]:
        """Wait until the process can answer; return what it says of itself, or of its failure."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}

    def call(self, name: str, given: Sequence[Any], named: dict[str, Any]) -> "Future[Any]":
        """Send a call; its future has the answer. To cancel it is to tell the engine so.

        Raises:
            NotReady: `engine_restarting`.
        """
        frames = packed([name, list(given), named])
        future: Future[Any] = Future()
        with self._lock:
            if self._has_ended:
                raise lost()
            self._count += 1
            number = self._count.to_bytes(8, "big")
            self._calls[number] = future
        self._send([number, *frames])
        future.add_done_callback(lambda done: self._drop(number) if done.cancelled() else None)
        return future

    def _drop(self, number: bytes) -> None:
        """Tell the engine that nobody waits for this call any more."""
        with self._lock:
            self._calls.pop(number, None)
        self._send([number])

    def _send(self, frames: list[Any]) -> None:
        with self._lock:
            if not self._has_ended:
                self._outbox.put(frames)
                self._wake_up.call()

    def listen(self) -> None:
        """Send calls and take answers until the process ends; then refuse all that wait."""
        socket: Any = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.set_hwm(0)
        socket.connect(self._address)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wake_up.fd, zmq.POLLIN)
        try:
            while self._process.poll() is None:
                ready = dict(poller.poll(POLL_MILLISECONDS))
                if self._wake_up.fd in ready:
                    self._wake_up.clear()
                    self._send_calls(socket)
                if socket in ready:
                    self._take_answers(socket)
        finally:
            socket.close()
            self.end()

    def _send_calls(self, socket: Any) -> None:
        while True:
            try:
                socket.send_multipart(self._outbox.get_nowait(), copy=False)
            except Empty:
                return

    def _take_answers(self, socket: Any) -> None:
        while True:
            try:
                number, *message = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with self._lock:
                future = self._calls.pop(number, None)
            if future is not None and future.set_running_or_notify_cancel():
                kind, value = unpacked(message)
                if kind == "value":
                    future.set_result(value)
                else:
                    future.set_exception(error_of(value))

    def end(self) -> None:
        """Refuse all calls, those that wait too; call this from the thread that would listen."""
        with self._lock:
            self._has_ended = True
            waiting, self._calls = list(self._calls.values()), {}
            self._wake_up.close()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(lost())

    def close(self) -> int:
        """End the process if it runs, and remove its folder; return its status."""
        self._process.kill()
        status = self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return status
