"""One decode worker, seen from the process that gives it images."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from app.images.image_files import Limits
from app.images.worker import HEAD, Answer

MODULE = "app.images.worker"
STUCK_SECONDS = 60.0  # of waiting, for a worker that the machine keeps from computing …
STUCK_FACTOR = 20.0  # … and for each second of a processor that its image may take
MAX_REPLY = 64 * 2**20  # bytes
PIECE = 2**20  # bytes of a reply that are read at once, if so many have come
MAX_PARTS = 512  # written at once; the system takes 1024


class Died(Exception):
    """The worker ended without an answer; `status` is how, as subprocess gives it."""

    def __init__(self, status: int, *, was_stuck: bool) -> None:
        super().__init__(f"the decode worker ended with status {status}")
        self.status = status
        self.took_too_long = was_stuck or status == -signal.SIGPROF
        self.lacked_memory = status == -signal.SIGKILL  # as the kernel does when memory runs out


class Starter:
    """Starts workers for any number of threads, in one of its own: they die with this thread.

    It keeps no process from ending.
    """

    def __init__(self) -> None:
        self._orders = SimpleQueue[tuple[Limits, int, Future[WorkerProcess]] | None]()
        self._lock, self._is_closed = Lock(), False
        Thread(target=self._work, name="worker-starter", daemon=True).start()

    def start(self, limits: Limits, niceness: int) -> "WorkerProcess":
        """Return a new worker.

        Raises:
            RuntimeError: the starter is closed.
        """
        worker = Future[WorkerProcess]()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("no decode worker starts any more: the decoder is closed")
            self._orders.put((limits, niceness, worker))
        return worker.result()

    def close(self) -> None:
        """End the thread, and the workers with it."""
        with self._lock:
            self._is_closed = True
            self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            limits, niceness, worker = order
            try:
                worker.set_result(WorkerProcess(limits, niceness))
            except BaseException as error:
                worker.set_exception(error)


class WorkerProcess:
    """A decode worker; to be used by one thread at a time.

    It dies with the thread that makes this object.
    """

    def __init__(self, limits: Limits, niceness: int = 0) -> None:
        """Start it; others get processors before a worker with a higher niceness does."""
        self.is_alive = True
        given = os.getpid(), limits.max_image_bytes, limits.max_image_pixels, niceness
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *map(str, given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C in a terminal is the parent's to handle. Not a session: Linux may share the
            # processors among sessions, and a worker would get as much as the rest of the service.
            process_group=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, order: dict[str, Any], files: Sequence[bytes]) -> list[Answer]:
        """Return the worker's answers for the first of the files.

        Raises:
            Died: it has ended or was killed, as it took too long; another must take its place.
        """
        text = json.dumps(order | {"sizes": [len(file) for file in files]}).encode()
        head = HEAD.pack(len(text), sum(len(file) for file in files))
        in_time = True
        try:
            self._write([head + text, *files])
            in_time = self._answers_in(STUCK_SECONDS + STUCK_FACTOR * order["seconds"])
            if not in_time:
                self._process.kill()
            return list(self._reply())
        except (BrokenPipeError, EOFError):
            raise Died(self.kill(), was_stuck=not in_time) from None
        except BaseException:  # the next reply would be taken for that to another order
            self.kill()
            raise

    def _reply(self) -> Iterator[Answer]:
        reply = self._read(b"", HEAD.size)
        length, size = HEAD.unpack_from(reply)
        start = HEAD.size + length
        if length + size > MAX_REPLY:
            raise EOFError
        reply = self._read(reply, start + size)
        if len(reply) > start + size:
            raise EOFError
        for answer in json.loads(reply[HEAD.size : start]):
            end = start + answer["bytes"]
            yield answer, reply[start:end]
            start = end

    def has_ended(self) -> bool:
        """Return whether it has ended between two orders; its pipes are then closed."""
        if self._process.poll() is None:
            return False
        self.kill()
        return True

    def interrupt(self) -> None:
        """End the worker from another thread than the one that uses it."""
        self._process.kill()

    def kill(self) -> int:
        """End the worker at once; return its status, which is its own if it ended by itself."""
        process, self.is_alive = self._process, False
        assert process.stdin and process.stdout
        process.stdin.close()
        process.stdout.close()
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _answers_in(self, seconds: float) -> bool:
        """Return whether the worker answers, or ends, within so many seconds."""
        ready = select.poll()
        ready.register(self._fd(), select.POLLIN)
        return bool(ready.poll(1000 * seconds))

    def _fd(self) -> int:
        assert self._process.stdout
        return self._process.stdout.fileno()

    # Every call of the system below hands the interpreter over to another thread, and waits until
    # that gives it back: under load this takes longer than the image. So there are few of them.

    def _write(self, parts: Sequence[bytes]) -> None:
        assert self._process.stdin
        rest = [memoryview(part) for part in parts if part]
        while rest:
            written = os.writev(self._process.stdin.fileno(), rest[:MAX_PARTS])
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def _read(self, begun: bytes, size: int) -> bytes:
        """Return the reply, of which some bytes are read, with so many of them at least.

        Raises:
            EOFError: the worker ended before it had written them.
        """
        parts, have = [begun], len(begun)
        while have < size:
            part = os.read(self._fd(), PIECE)
            if not part:
                raise EOFError
            parts.append(part)
            have += len(part)
        return b"".join(parts)
