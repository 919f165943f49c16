"""The connections of clients: uvicorn's HTTP/1.1, bounded in number and ended when they dawdle.

    uvicorn.Config(app, http=protocol(settings), …)

A client must send a request's head within `client_seconds`, and in every such span either send or
take MIN_BYTES of a body that the service waits for, or finish with it. Streams of events and
clients that wait for an answer are not concerned.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.server.connection_bounds import Bounds, Span
from app.server.counting_transport import Counting
from app.server.refusals import (
    HeadTooLarge,
    NotServed,
    head_too_large,
    too_many_connections,
    unreadable,
)
from app.server.transfers import CLIENT, Permit
from app.settings import Settings

MAX_HEAD_BYTES = 64 * 2**10  # of a request's line and headers
MAX_UNHEARD_BYTES = MAX_HEAD_BYTES + 2**18  # and what may come in one piece
MAX_WATCH_SECONDS = 1.0  # between two looks at a connection
CUT_SECONDS = 5.0  # for the event loop to close a connection
REFUSED_SECONDS = 1.0  # for a client beyond the bounds to ask and to read that it is refused
log = logging.getLogger(__name__)

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: drop what the system still holds for the client


class Reading(Enum):
    """The part of a request that is being read."""

    NOTHING = "between two requests"
    HEAD = "its line and headers"
    BODY = "its body"


class ClientConnection(HttpToolsProtocol):
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
        self._reading, self._head_bytes, self._upgrades = Reading.NOTHING, 0, False
        self._unheard = 0  # bytes since a head or a piece of a body was whole
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
            self._end_with(too_many_connections())
            return
        self._received += len(data)
        self._unheard += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._end_with(unreadable(error, MAX_HEAD_BYTES))
        else:
            if self._unheard > MAX_UNHEARD_BYTES:  # the parser holds a header that does not end
                self._end_with(head_too_large(MAX_HEAD_BYTES))
        self._note_head()

    def _feed(self, data: bytes) -> None:
        """Parse what has come; a client's wish for another protocol is left unheard."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_the_wish() + data[upgrade.args[0] :]

    def _without_the_wish(self) -> bytes:
        """Return the head of the request again, for a new parser, without its `Upgrade`."""
        kept = [each for each in self.headers if each[0] not in (b"upgrade", b"connection")]
        if any(b"close" in value.lower() for name, value in self.headers if name == b"connection"):
            kept.append((b"connection", b"close"))
        lines = [b"%s: %s" % each for each in kept]
        version = self.parser.get_http_version().encode()
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)
        self.parser, self._upgrades = httptools.HttpRequestParser(self), False
        return b"\r\n".join([first, *lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading, self._head_bytes = Reading.HEAD, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is Reading.HEAD and not self._upgrades:
            super().on_header(name, value)
        # Else it is a trailer, which must not count as a header: RFC 9110, section 6.5.1.
        self._count_head(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise NotServed("CONNECT is for proxies")  # the parser ends at this
        self._upgrades = self.parser.should_upgrade()
        self._unheard = 0
        if not self._upgrades:
            self._reading = Reading.BODY
            if self.url == b"*":  # of OPTIONS: the whole server
                self.url = b"/"
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        if not self._upgrades:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._unheard = 0
        if not self._upgrades:
            self._reading = Reading.NOTHING
            super().on_message_complete()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:  # the parser ends at this, and the request with it
            raise HeadTooLarge

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

    def _end_with(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()

    def _note_head(self) -> None:
        """Note the time since which a request's head is expected; none between two requests."""
        answered = self.cycle is None or self.cycle.response_complete
        between = self.timeout_keep_alive_task is not None or not answered
        if self._reading is Reading.BODY or (self._reading is Reading.NOTHING and between):
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
            self._reading is Reading.BODY
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
