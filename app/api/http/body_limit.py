"""The limit of a request's body, applied to the stream and to the announced length.

A body that came compressed is unpacked here, so that the limits hold for what it stands for; the
limit of bytes holds for the compressed ones too.

The number of values in JSON is bounded too: an empty object takes three bytes in a body, but
hundreds once it is parsed and refused. Every value but the first follows a comma or an opening
bracket, so commas and brackets are counted as they arrive, before anything is parsed.
"""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from typing import NoReturn

from starlette.types import Message, Receive, Scope, Send

from app.api.http import problems
from app.api.http.content_encoding import READ, Unpacked, decompressor
from app.errors import Malformed, NotReady, Problem, TooLarge, Unsupported
from app.settings import Settings

MAX_JSON_BYTES = 4 * 2**20  # of any but a prediction's, which has images in it
MAX_JSON_VALUES = 100_000
MAX_KEY_BYTES = 16 * 2**10  # of a body with a key in it, which anybody may send
FORM_OVERHEAD = 64 * 2**10  # multipart's own lines and the small fields around a file of full size
MAX_BYTES_IN_MEMORY = 256 * 2**20  # of all bodies that are being read or answered
ALWAYS_TAKEN = 2**20  # of a body, however many others there are
ARCHIVES = re.compile(r"/v1/(datasets(/[^/]+/images)?|batch-predictions)/?")  # routes of uploads
IMPORT = re.compile(r"/v1/components/import/?")  # a file, which is spooled as they are
RETRY_SECONDS = 5
# For a refused client that sends on: closed on unread bytes, it may lose the answer.
LINGER_SECONDS = 10.0
LINGER_BYTES = 64 * 2**20  # beyond the limit


class BodyRefused(Exception):
    """Ends the reading of a body that gets a problem; never leaves app.api.http.edge."""


def limit_of(scope: Scope, settings: Settings, *, is_json: bool) -> int:
    """Return the most bytes that this request's body may have."""
    if scope["path"] == "/session":
        return min(MAX_KEY_BYTES, settings.max_request_bytes)
    if not is_json and _is_for(scope, ARCHIVES):
        return settings.max_upload_bytes + FORM_OVERHEAD
    if is_json and scope["path"].rstrip("/") != "/v1/predictions":
        return min(MAX_JSON_BYTES, settings.max_request_bytes)
    return settings.max_request_bytes


def values_in(text: bytes) -> int:
    """Return an upper bound of the values that begin in this part of a JSON text."""
    # Every encoding of JSON has these bytes in its commas and brackets.
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def too_many_values() -> TooLarge:
    """Return the problem of a JSON text with too many values."""
    return TooLarge(
        "request_too_large",
        f"the request's JSON has more than {MAX_JSON_VALUES} commas and opening brackets: "
        "send less at a time",
        limit=MAX_JSON_VALUES,
    )


def _too_many_bytes(limit: int) -> TooLarge:
    return TooLarge(
        "request_too_large",
        f"the request's body is larger than the {limit} bytes allowed here: "
        "send less at a time; GET /v1/limits shows every limit that is a setting",
        limit=limit,
    )


def _is_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type" and b"json" in value.lower().partition(b";")[0]:
            return True
    return False


def _is_for(scope: Scope, routes: re.Pattern[str]) -> bool:
    """Return whether the body is for one of these routes; a file then, which goes to the disk."""
    return scope["method"] == "POST" and routes.fullmatch(scope["path"]) is not None


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _lingering(receive: Receive, send: Send, most: int) -> Send:
    """Return a `send` that ends the answer only after the client's body, or at a limit.

    The limits are `most` bytes and LINGER_SECONDS.

    A connection closed on unread bytes is reset, and many clients read the answer only after they
    have sent everything.
    """

    async def rest() -> None:
        left = most
        while left > 0 and (message := await receive())["type"] == "http.request":
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return

    async def sent(message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if last:
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                await asyncio.wait_for(rest(), LINGER_SECONDS)
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return sent


class BodyMemory:
    """The memory that the bodies of all requests share; one address gets at most half of it."""

    def __init__(self, most: int = MAX_BYTES_IN_MEMORY) -> None:
        self._most, self._held = most, Counter[str]()

    def take(self, size: int, address: str, *, small: bool) -> bool:
        """Take so many bytes; return False, and take none, if a large body finds no room."""
        own, all_ = self._held[address] + size, self._held.total() + size
        if not small and (all_ > self._most or own > self._most // 2):
            return False
        self._held[address] = own
        return True

    def give_back(self, size: int, address: str) -> None:
        """Give the bytes of a body back."""
        self._held[address] -= size
        if not self._held[address]:
            del self._held[address]


def _no_memory() -> NotReady:
    return NotReady(
        "bodies_busy",
        f"the bodies of other requests fill the {MAX_BYTES_IN_MEMORY} bytes that there are for "
        "them: send this one again later",
        retry_after=RETRY_SECONDS,
    )


class LimitedBody:
    """A request's body, unpacked and read to at most a piece beyond the limit.

    `refused` has the problem of a body that is not read, or not to its end; `was_left` says that
    the client left before its end.
    """

    def __init__(
        self, scope: Scope, receive: Receive, settings: Settings, memory: BodyMemory
    ) -> None:
        self._scope, self._receive = scope, receive
        self._is_json = is_json = _is_json(scope)
        to_disk = not is_json and (_is_for(scope, ARCHIVES) or _is_for(scope, IMPORT))
        self._memory = None if to_disk else memory
        self._address = str((scope.get("client") or ("",))[0])
        self._held = 0  # bytes of the shared memory
        self._limit = limit_of(scope, settings, is_json=is_json)
        self._arrived, self._read, self._values, self._ended = 0, 0, 0, False
        self.refused: Problem | None = None
        self.was_left = False
        announced = _announced(scope)  # of the compressed bytes, where they are
        self._next = self._received
        try:
            if (packed := decompressor(scope)) is not None:
                self._next = Unpacked(self._received, packed).receive
                # Bytes that cost their sender nothing: few of them.
                self._limit = min(self._limit, settings.max_request_bytes)
        except Unsupported as problem:
            self.refused = problem
        if announced > self._limit:
            self.refused = _too_many_bytes(self._limit)

    async def receive(self) -> Message:
        """Receive a message and count its bytes and values."""
        try:
            message = await self._next()
        except Malformed as problem:
            self._refuse(problem)
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self._read += len(body)
            self._values += values_in(body) if self._is_json else 0
            if self._read > self._limit or self._values > MAX_JSON_VALUES:
                large = self._read > self._limit
                self._refuse(_too_many_bytes(self._limit) if large else too_many_values())
            self._hold(len(body))
        return message

    async def _received(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.was_left = not self._ended
        elif not message.get("more_body"):
            self._ended = True
        self._arrived += len(message.get("body", b""))
        if self._arrived > self._limit:
            self._refuse(_too_many_bytes(self._limit))
        return message

    def _refuse(self, problem: Problem) -> NoReturn:
        self.refused = problem
        raise BodyRefused

    def close(self) -> None:
        """Give back the memory; call this when the request is answered."""
        if self._memory is not None:
            self._memory.give_back(self._held, self._address)
            self._held = 0

    def _hold(self, size: int) -> None:
        if self._memory is None:
            return
        if not self._memory.take(size, self._address, small=self._read <= ALWAYS_TAKEN):
            self._refuse(_no_memory())
        self._held += size

    async def refuse(self, problem: Problem, send: Send) -> None:
        """Answer with the problem; throw away what the client sends meanwhile."""
        headers = {"Connection": "close"}
        if problem.status == 415:
            headers["Accept-Encoding"] = ", ".join(READ)  # RFC 9110, section 12.5.3
        response = problems.retriable(self._scope, problem)
        response.headers.update(headers)
        waiting = any(name == b"expect" for name, _ in self._scope["headers"])  # for 100 Continue
        unread = not self._ended and (self._read or not waiting)
        most = self._limit + LINGER_BYTES
        send = _lingering(self._receive, send, most) if unread else send
        await response(self._scope, self._receive, send)
