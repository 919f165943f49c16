"""The Bearer key, checked before anything of the request's body is read."""

from hmac import compare_digest

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http import problems
from app.errors import Unauthorized


def _given(scope: Scope) -> bytes | None:
    """The token of the one Authorization header, if it is a Bearer one."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


class BearerKey:
    """ASGI middleware: `/v1` only with `Authorization: Bearer <the key>`; the rest stays open."""

    def __init__(self, app: ASGIApp, *, key: str | None) -> None:
        self.app, self.key = app, None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.key is None or not _guarded(scope["path"]):
            await self.app(scope, receive, send)
            return
        token = _given(scope)
        # compare_digest takes the same time whichever byte differs.
        if token is not None and compare_digest(token, self.key):
            await self.app(scope, receive, send)
            return
        problem = Unauthorized(
            "api_key_missing" if token is None else "api_key_wrong",
            "this service answers only with its key: send Authorization: Bearer <key>",
        )
        headers = {"WWW-Authenticate": 'Bearer realm="tangent"', "Connection": "close"}
        response = problems.answer(scope, problem, headers)  # the body is left unread
        await response(scope, receive, send)


def _guarded(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")
