"""The Bearer key, checked before the request's body is read."""

from hmac import compare_digest

from starlette.responses import Response
from starlette.types import Scope

from app.api.http import problems
from app.errors import Unauthorized


def refusal(scope: Scope, key: str) -> Response | None:
    """Return the 401 for a request below /v1 without `Authorization: Bearer <key>`, else None."""
    if not _guarded(scope["path"]):
        return None
    token = _token(scope)
    # compare_digest takes the same time whichever byte differs.
    if token is not None and compare_digest(token, key.encode()):
        return None
    problem = Unauthorized(
        "api_key_missing" if token is None else "api_key_wrong",
        "this service answers only with its key: send Authorization: Bearer <key>",
    )
    headers = {"WWW-Authenticate": 'Bearer realm="tangent"', "Connection": "close"}
    return problems.answer(scope, problem, headers)


def _guarded(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")


def _token(scope: Scope) -> bytes | None:
    """Return the token of the only Authorization header, if it is a Bearer token."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None
