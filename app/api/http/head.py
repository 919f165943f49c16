"""HEAD requests, answered as GET requests without their body (RFC 9110, section 9.3.2)."""

from typing import Any

from starlette.types import Message, Scope, Send

OF_ROUTING = ("route", "endpoint", "path_params")
OF_PARTS = (b"range", b"if-range")
PATHSEND = "http.response.pathsend"
HEAD_ONLY = "tangent.head"


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return the GET request for a HEAD request, and a `send` that leaves out the body.

    Files are not read, and a stream of events, which would not end, is not begun. A Range is passed
    over, as it is defined for GET alone (section 14.2).
    """

    async def send_head(message: Message) -> None:
        if message["type"] in ("http.response.body", PATHSEND):
            more = message.get("more_body", False)
            message = {"type": "http.response.body", "body": b"", "more_body": more}
        await send(message)

    headers = [each for each in scope["headers"] if each[0] not in OF_PARTS]
    extensions: dict[str, Any] = {**(scope.get("extensions") or {}), PATHSEND: {}, HEAD_ONLY: {}}
    return {**scope, "method": "GET", "headers": headers, "extensions": extensions}, send_head


def is_head(scope: Scope) -> bool:
    """Return whether the body of this GET request's answer is left out."""
    return HEAD_ONLY in (scope.get("extensions") or {})


def copy_route(of: Scope, to: Scope) -> None:
    """Copy what routing has found out about a request, for those who count requests by route."""
    to.update({name: of[name] for name in OF_ROUTING if name in of})
