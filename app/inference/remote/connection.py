"""One engine process as its callers see it, and the calls that it has to answer."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import zmq

from app.errors import NotReady
from app.inference.remote.bundles import bundled, unbundled
from app.inference.remote.wire import EngineFault, Frames, error_of, packed, unpacked
from app.server.event_loop import AfterTurn, handed_over_together

RETRY_SECONDS = 2
MAX_WAKE_BYTES = 4096  # read from a wake-up call at once
# What a socket tells that has lost its other side, or found none at its address.
LOST = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED


def lost() -> NotReady:
    """Return the problem of a call that no engine answers."""
    return NotReady(
        "engine_restarting",
        "the engine process has ended and is started again: send the request again",
        retry_after=RETRY_SECONDS,
    )


class WakeUp:
    """A file descriptor that is readable once it was called, until it is cleared.

    Only the first call after a clearing writes to it: each writing hands the interpreter over to
    the thread that waits, and the caller has to get it back.
    """

    def __init__(self) -> None:
        self.fd, self._end = os.pipe()
        self._is_called = False
        for each in (self.fd, self._end):
            os.set_blocking(each, False)

    def call(self) -> None:
        """Wake the thread that waits, now or when it next waits: first put what it is to find."""
        if self._is_called:
            return
        self._is_called = True
        with suppress(BlockingIOError):  # so many calls wait that it is readable anyway
            os.write(self._end, b"\0")

    def clear(self) -> None:
        """Forget all calls so far: look for what was put only then."""
        with suppress(BlockingIOError):
            while len(os.read(self.fd, MAX_WAKE_BYTES)) == MAX_WAKE_BYTES:
                pass
        self._is_called = False

    def close(self) -> None:
        """Give the descriptors back; nobody may call any more."""
        os.close(self.fd)
        os.close(self._end)


class Connection:
    """A connection to the process at an address, to the end of either; it is not made again.

    Calls must not reach the process that comes after: nobody waits for them any more.
    """

    def __init__(self, address: str) -> None:
        """Connect to nothing yet; `listen` does it."""
        self._address = address
        self._lock = Lock()
        self._calls: dict[bytes, Future[Any]] = {}
        self._count, self._has_ended = 0, False
        self._outbox: SimpleQueue[Frames] = SimpleQueue()
        self._wake_up = WakeUp()
        self._wake_soon = AfterTurn(self._wake)

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

    def _send(self, frames: Frames) -> None:
        self._outbox.put(frames)
        self._wake_soon()

    def _wake(self) -> None:
        with self._lock:
            if not self._has_ended:
                self._wake_up.call()

    def listen(self) -> None:
        """Send calls and take answers until the process has ended, or `end`."""
        socket: Any = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        socket.set_hwm(0)
        watch: Any = socket.get_monitor_socket(LOST)
        try:
            socket.connect(self._address)
            self._pass_messages(socket, watch)
        finally:
            socket.disable_monitor()
            watch.close(linger=0)
            socket.close()
            self.end()
            self._wake_up.close()

    def _pass_messages(self, socket: Any, watch: Any) -> None:
        poller = zmq.Poller()
        for each in (socket, watch, self._wake_up.fd):
            poller.register(each, zmq.POLLIN)
        while not self._has_ended:
            ready = dict(poller.poll())
            if self._wake_up.fd in ready:
                self._wake_up.clear()
                self._send_calls(socket)
            if socket in ready:
                self._take_answers(socket)
            if watch in ready:
                return

    def _send_calls(self, socket: Any) -> None:
        for sent in bundled(self._outgoing()):
            socket.send_multipart(sent, copy=False)

    def _outgoing(self) -> Iterator[Frames]:
        with suppress(Empty):
            while True:
                yield self._outbox.get_nowait()

    def _take_answers(self, socket: Any) -> None:
        with suppress(zmq.Again):
            while True:
                answers = unbundled(socket.recv_multipart(zmq.NOBLOCK))
                with handed_over_together():
                    for number, *answer in answers:
                        self._take_answer(number, answer)

    def _take_answer(self, number: bytes, answer: Frames) -> None:
        with self._lock:
            future = self._calls.pop(number, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        try:
            kind, value = unpacked(answer)
            error = None if kind == "value" else error_of(value)
        except Exception as fault:  # whatever it is, its caller waits, and so do those of others
            error = EngineFault(f"the engine's answer cannot be read: {fault}")
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def end(self) -> None:
        """Refuse all calls, those that wait too."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
            waiting, self._calls = list(self._calls.values()), {}
            self._wake_up.call()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(lost())
