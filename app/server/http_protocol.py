"""The connections of clients: uvicorn's HTTP/1.1, bounded in number and ended when they dawdle.

    uvicorn.Config(app, http=protocol(settings), …)

A client must send a request's head within `client_seconds`, and in every such span either send or
take MIN_BYTES of a body that the service waits for, or finish with it. Streams of events and
clients that wait for an answer are not concerned.
"""

import asyncio
import json
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.server.transfers import CLIENT, Permit
from app.settings import Settings

MIN_BYTES = 16 * 2**10
MAX_WATCH_SECONDS = 1.0  # between two looks at a connection
CUT_SECONDS = 5.0  # for the event loop to close a connection
REFUSED_SECONDS = 1.0  # for a client beyond the bounds to ask and to read that it is refused
REFUSAL = {
    "type": "about:blank",
    "title": "Not ready",
    "status": 503,
    "detail": "the service has as many connections as it takes: close some, or try again later",
    "code": "too_many_connections",
}
log = logging.getLogger(__name__)

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: drop what the system still holds for the client


class Bounds:
    """The connections of one server, and the most that it takes."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.client_seconds
        self._most, self._most_of_one = (
            settings.max_connections,
            settings.max_connections_per_address,
        )
        self._open = Counter[str]()

    def admit(self, address: str) -> bool:
        """Count a connection from this address; return False if there are too many."""
        if self._open.total() >= self._most or self._open[address] >= self._most_of_one:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection less."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Counting:
    """A transport that counts the bytes written to it, and may need a permit for them.

    Head and body of an answer under a permit go in one call: the answer is whole, or it is not.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.written = transport, 0
        self._permit: Permit | None = None
        self._held = b""  # until the answer under the permit is whole

    def write(self, data: bytes) -> None:
        if self._permit is None:
            self._write(data)
        else:
            self._held += data

    def send_under(self, permit: Permit | None) -> None:
        """Hold what is written from here on until the next call, which asks this permit for it."""
        asked, held = self._permit, self._held
        self._permit, self._held = permit, b""
        if asked is None or not held:
            return
        with asked() as granted:
            if granted:
                self._write(held)
        if not granted:
            self._transport.abort()

    def close(self) -> None:
        """Close the connection once what is held is written."""
        self.send_under(None)
        self._transport.close()

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Span:
    """The time since which a client has moved too few bytes."""

    def __init__(self) -> None:
        self._since, self._bytes = 0.0, -1

    def is_over(self, now: float, moved: int, seconds: float, *, waiting: bool) -> bool:
        """Return whether the service has waited this long for MIN_BYTES."""
        if not waiting:
            self._bytes = -1
        elif self._bytes < 0 or moved - self._bytes >= MIN_BYTES:
            self._since, self._bytes = now, moved
        return self._bytes >= 0 and now - self._since > seconds


class ClientConnection(H11Protocol):
    """One connection; in the scope of its requests as a `Client` of app.server.transfers."""

    bounds: Bounds

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        application: Any = self.app

        async def with_client(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[CLIENT] = self
            await application(scope, receive, send)

        self.app = with_client
        self._received, self._refused, self._address = 0, False, ""
        self._head_since: float | None = None
        self._sending, self._taking = Span(), Span()
        self._when_lost: Callable[[], None] | None = None
        self._watcher: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, Counting(transport)))
        self._address = self.client[0] if self.client else ""
        self._refused = not self.bounds.admit(self._address)
        if self._refused:
            self._watcher = self.loop.call_later(REFUSED_SECONDS, transport.close)
            return
        self._head_since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        if not self._refused:
            self.bounds.leave(self._address)
        super().connection_lost(exc)
        if self._when_lost is not None:
            self._when_lost()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._refuse()
            return
        self._received += len(data)
        super().data_received(data)
        self._note_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_head()

    def cut(self, *, only_unsent: bool) -> None:
        """Close the connection and drop what waits in it; with `only_unsent` if anything does."""
        done: Future[None] = Future()

        def close() -> None:
            if not only_unsent or self.has_unsent():
                self.abort()
            self.loop.call_soon(done.set_result, None)  # after the socket is closed

        try:
            self.loop.call_soon_threadsafe(close)
        except RuntimeError:  # the server has ended, and its connections with it
            return
        try:
            done.result(CUT_SECONDS)
        except TimeoutError:  # the deletion is made: what is left of it must go on
            log.error("a transfer of what was deleted has not ended within %g s", CUT_SECONDS)

    @contextmanager
    def watched(self, call: Callable[[], None]) -> Iterator[None]:
        """Call `call` if the connection is lost in the block."""
        self._when_lost = call
        try:
            if self.transport.is_closing():
                call()
            yield
        finally:
            self._when_lost = None

    def has_unsent(self) -> bool:
        """Return whether bytes wait in this process for the client to take others."""
        return bool(self.transport.get_write_buffer_size())

    def send_under(self, permit: Permit | None) -> None:
        """Hold the bytes of an answer that needs this permit; with None, ask it and send them."""
        cast(Counting, self.transport).send_under(permit)

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        body = json.dumps(REFUSAL).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _note_head(self) -> None:
        """Note the time since which a request's head is expected; none between two requests."""
        between = self.timeout_keep_alive_task is not None and not self.conn.trailing_data[0]
        if self.conn.their_state is not h11.IDLE or between:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self.loop.time()

    def _watch(self) -> None:
        now, seconds = self.loop.time(), self.bounds.seconds
        if self._dawdles(now, seconds):
            self.abort()
            return
        pause = min(MAX_WATCH_SECONDS, seconds / 4)
        self._watcher = self.loop.call_later(pause, self._watch)

    def _dawdles(self, now: float, seconds: float) -> bool:
        """Return whether the service has waited too long for the client."""
        if self._head_since is not None and now - self._head_since > seconds:
            return True
        unsent = self.transport.get_write_buffer_size()
        taken = cast(Counting, self.transport).written - unsent
        if self._taking.is_over(now, taken, seconds, waiting=unsent > 0):
            return True
        return self._sending.is_over(now, self._received, seconds, waiting=self._awaits_body())

    def _awaits_body(self) -> bool:
        """Return whether a body is due; also one that nobody reads, after an early answer."""
        return (
            self.conn.their_state is h11.SEND_BODY
            and not self.cycle.waiting_for_100_continue
            and not self.flow.read_paused
        )

    def abort(self) -> None:
        """Close the connection and drop what waits in it."""
        peer = self.transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


def protocol(settings: Settings) -> type[ClientConnection]:
    """Return the class of one server's connections."""
    return type("ClientConnection", (ClientConnection,), {"bounds": Bounds(settings)})
