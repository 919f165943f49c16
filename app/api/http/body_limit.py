"""The largest request body, held on the stream as well as on the announced length.

JSON is bounded in its values too: an empty object takes three bytes in a body, and hundreds once it
is parsed and found wrong. A value other than a body's only one stands behind a comma or an opening
bracket, so these are counted as they come, before anything is parsed.
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http import problems
from app.errors import TooLarge
from app.settings import Settings

MAX_JSON_BYTES = 4 * 2**20  # of any but a prediction's, which has images in it
MAX_JSON_VALUES = 100_000
FORM_OVERHEAD = 64 * 2**10  # multipart's own lines and the small fields around a file of full size
LINGER_SECONDS = 10.0  # for a refused client that sends on; closed at once, it may lose the answer


class BodyTooLarge(Exception):
    """Ends the reading of a body that is over the limit; never leaves this file's middleware."""


def limit_of(scope: Scope, settings: Settings) -> int:
    """The most bytes that this request's body may have."""
    if scope["method"] == "POST" and scope["path"].rstrip("/") == "/v1/datasets":
        return settings.max_upload_bytes + FORM_OVERHEAD
    if _is_json(scope) and scope["path"].rstrip("/") != "/v1/predictions":
        return min(MAX_JSON_BYTES, settings.max_request_bytes)
    return settings.max_request_bytes


def values_in(text: bytes) -> int:
    """Return how many values this part of a JSON text begins at most."""
    # Every encoding of JSON has these bytes in its commas and brackets.
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def too_many_values() -> TooLarge:
    """The problem of a JSON text over the bound."""
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
    types = (value for name, value in scope["headers"] if name == b"content-type")
    return any(b"json" in value.lower().partition(b";")[0] for value in types)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _lingering(receive: Receive, send: Send, most: int) -> Send:
    """`send`, but the answer ends once the client's body has, or `most` bytes or seconds later.

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


class BodyLimit:
    """ASGI middleware: a body over the limit is answered 413, after at most one chunk too many.

    What the client sends while it is answered is thrown away.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = limit_of(scope, self.settings)
        over = _too_many_bytes(limit) if _announced(scope) > limit else None
        read, values, started, ended, json = 0, 0, False, False, _is_json(scope)
        waiting = any(name == b"expect" for name, _ in scope["headers"])  # for a 100 Continue

        async def counted() -> Message:
            nonlocal read, values, over, ended
            message = await receive()
            if message["type"] == "http.request":
                body = message.get("body", b"")
                read += len(body)
                values += values_in(body) if json else 0
                ended = not message.get("more_body")
                if read > limit or values > MAX_JSON_VALUES:
                    over = _too_many_bytes(limit) if read > limit else too_many_values()
                    raise BodyTooLarge
            return message

        async def unless_over(message: Message) -> None:
            # What the application makes of the exception (a 400, a 500) is not the answer.
            nonlocal started
            if not over:
                started = True
                await send(message)

        if not over:
            try:
                await self.app(scope, counted, unless_over)
            except Exception:
                if not over:
                    raise
        if over and not started:
            response = problems.answer(scope, over, {"Connection": "close"})
            unread = not ended and (read or not waiting)
            await response(scope, receive, _lingering(receive, send, limit) if unread else send)
