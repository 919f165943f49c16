"""The cookie of a browser's session: read from requests, set on answers.

Its name has no `__Host-` before it. Browsers take that only with `Secure` and `Path=/`, and the
service must work over plain HTTP on a machine's own address and below a path of its own.
"""

from datetime import datetime

from starlette.responses import Response
from starlette.types import Scope

from app.access import browser_sessions
from app.access.session_admission import MAX_COOKIES
from app.database.columns import now
from app.settings import Settings

NAME = "tangent_session"


def session_tokens(scope: Scope) -> list[str]:
    """Return the tokens of the session's cookies, in their order; what cannot be one is left out.

    There may be several: a browser sends those of other services on this host and of longer paths.
    """
    found: dict[str, None] = {}
    for name, value in scope["headers"]:
        if name != b"cookie":
            continue
        for pair in value.split(b";"):
            key, _, token = pair.strip().partition(b"=")
            text = token.decode("latin-1")
            if key == NAME.encode() and browser_sessions.is_token(text):
                found[text] = None
                if len(found) == MAX_COOKIES:
                    return list(found)
    return list(found)


def is_https(scope: Scope) -> bool:
    """Return whether the browser has sent the request by HTTPS, as far as the service can tell.

    A proxy that ends TLS may be silent about it, but not the browser: the page's own origin tells.
    """
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    return scope.get("scheme") == "https" or any(
        origin.lower().startswith(b"https://") for origin in origins
    )


def set_cookie(answer: Response, scope: Scope, token: str, expires_at: datetime) -> None:
    """Have the browser keep the token until then: for this service alone, out of scripts' reach."""
    seconds = max(0, int((expires_at - now()).total_seconds()))
    _set(answer, scope, token, seconds)


def clear_cookie(answer: Response, scope: Scope) -> None:
    """Have the browser forget the token."""
    _set(answer, scope, "", 0)


def _set(answer: Response, scope: Scope, value: str, seconds: int) -> None:
    settings: Settings = scope["app"].state.settings
    answer.set_cookie(
        NAME,
        value,
        max_age=seconds,
        path=settings.prefix or "/",
        secure=is_https(scope),
        httponly=True,
        samesite="strict",
    )
